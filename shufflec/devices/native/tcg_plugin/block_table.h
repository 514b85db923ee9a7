/* Every translated block, how often each thread ran it, and what it missed: the base of all counts by region.
 *
 * Threads are those of the board, which the emulator runs one after the other (../rpc_server/parallel_launch.h). A
 * region is a row of sections: in a section, threads ran side by side on the board; section 0 is all that ran alone.
 */
#ifndef SHUFFLEC_BLOCK_TABLE_H_
#define SHUFFLEC_BLOCK_TABLE_H_

#include <stddef.h>
#include <stdint.h>

#include "../common/counters.h"
#include "cache_model.h"

struct Block {
  uint64_t address;                        /* guest virtual address of the first instruction */
  uint32_t length;                         /* instructions */
  uint32_t number;                         /* in the order of translation */
  uint32_t *words;                         /* [length], the instructions themselves */
  uint64_t *executions;                    /* since the block was translated */
  uint32_t instructions[SHUFFLEC_CLASSES]; /* in one execution */
  struct Share {
    uint64_t executions;
    struct CacheMisses misses;
  } shares[]; /* [threads], in the section that is open */
};

/* A block's executions by one thread in one section. */
struct Run {
  const struct Block *block;
  uint32_t section, thread;
  struct Share share;
};

/* Sets how many threads are told apart. Call it once, before all else. */
void block_table_set_threads(unsigned threads);
unsigned block_table_threads(void);

/* Adds a block of `length` instructions with no execution yet; the pointer stays valid for the process's life.
 * Threads may translate at the same time. Returns NULL when memory is out. */
struct Block *block_table_add(uint64_t address, const uint32_t *words, uint32_t length);

/* Counts from here, in section 0, for thread 0. */
void block_table_start_region(void);

/* What ran so far was the current thread's; from here on it is `thread`'s (less than block_table_threads()). */
void block_table_switch(unsigned thread);

/* Ends the section that is open and opens the next: one side by side, with a number of its own, or section 0 again. The
 * misses of the one that ends must be complete. Returns -1 when memory is out. */
int block_table_next_section(int side_by_side);

/* Ends the region. Returns -1 when memory is out. */
int block_table_stop_region(void);

/* Of the region that ended: its runs (valid until the next region starts), the same block, section and thread once or,
 * in section 0, several times. */
const struct Run *block_table_runs(size_t *count);

/* Of the region that ended: instructions by thread and class. */
void block_table_sum(uint64_t instructions[SHUFFLEC_MAX_THREADS][SHUFFLEC_CLASSES]);

#endif /* SHUFFLEC_BLOCK_TABLE_H_ */
