/* What the TCG plugin asks the clock process, over a Unix stream socket: the time of one region. One connection, one
 * request, one answer; both little-endian, as this machine is. shufflec/timing/clock_protocol.py is the other side.
 *
 * Request: struct ClockRequest; for each block struct ClockBlock, uint32_t words[length], and padding to a multiple of 8
 * bytes; struct ClockRun runs[]. Answer: struct ShufflecEstimate of counters.h.
 */
#ifndef SHUFFLEC_CLOCK_PROTOCOL_H_
#define SHUFFLEC_CLOCK_PROTOCOL_H_

#include <stdint.h>

#define SHUFFLEC_CLOCK_MAGIC UINT64_C(0x336b6c6366756873) /* "shufclk3"; its last digit is the protocol's version */

struct ClockRequest {
  uint64_t magic;
  uint64_t bytes; /* of the whole request, with this header */
  uint32_t threads;
  uint32_t blocks;
  uint64_t runs;
};

struct ClockBlock {
  uint64_t address; /* guest virtual address of the first instruction */
  uint32_t length;  /* instructions */
  uint32_t reserved;
};

/* A block's executions by one thread in one section: 0 is all that ran alone, in every other threads ran side by side. */
struct ClockRun {
  uint32_t block; /* its place in the request, from 0 */
  uint32_t section, thread, reserved;
  uint64_t executions, l1_load_misses, l1_store_misses, dram_fills, dram_writes;
};

#endif /* SHUFFLEC_CLOCK_PROTOCOL_H_ */
