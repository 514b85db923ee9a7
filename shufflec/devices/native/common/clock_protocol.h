/* What the TCG plugin asks the clock process, over a Unix stream socket: the time of one region. One connection, one
 * request, one answer; both little-endian, as this machine is. shufflec/timing/clock_protocol.py is the other side.
 *
 * Request: struct ClockRequest, then for each block: struct ClockBlock, uint64_t executions[threads],
 * uint32_t words[length], and padding to a multiple of 8 bytes. Answer: struct ShufflecEstimate of counters.h.
 */
#ifndef SHUFFLEC_CLOCK_PROTOCOL_H_
#define SHUFFLEC_CLOCK_PROTOCOL_H_

#include <stdint.h>

#define SHUFFLEC_CLOCK_MAGIC UINT64_C(0x326b6c6366756873) /* "shufclk2"; its last digit is the protocol's version */

struct ClockRequest {
  uint64_t magic;
  uint64_t bytes; /* of the whole request, with this header */
  uint32_t threads;
  uint32_t blocks;
};

struct ClockBlock {
  uint64_t address; /* guest virtual address of the first instruction */
  uint64_t l1_load_misses, l1_store_misses, dram_lines;
  uint32_t length; /* instructions */
  uint32_t reserved;
};

#endif /* SHUFFLEC_CLOCK_PROTOCOL_H_ */
