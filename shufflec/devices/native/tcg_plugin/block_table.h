/* Every translated block, how often each thread ran it, and what it holds: the base of all counts by region. */
#ifndef SHUFFLEC_BLOCK_TABLE_H_
#define SHUFFLEC_BLOCK_TABLE_H_

#include <stddef.h>
#include <stdint.h>

#include "../common/counters.h"
#include "cache_model.h"

struct Block {
  uint64_t address;                        /* guest virtual address of the first instruction */
  uint32_t length;                         /* instructions */
  uint32_t *words;                         /* [length], the instructions themselves */
  uint32_t instructions[SHUFFLEC_CLASSES]; /* in one execution */
  uint64_t *executions_at_start;           /* [threads], of the region */
  struct CacheMisses misses;               /* in the region, over all threads */
  uint64_t executions[];                   /* [threads], since the block was translated */
};

/* Sets how many threads have a counter of their own in every block. Call it once, before all else. */
void block_table_set_threads(unsigned threads);
unsigned block_table_threads(void);

/* Adds a block of `length` instructions with no execution yet; the pointer stays valid for the process's life.
 * Threads may translate at the same time. Returns NULL when memory is out. */
struct Block *block_table_add(uint64_t address, const uint32_t *words, uint32_t length);

/* Counts from here: block_table_sum() then gives the executions since this call. Misses start at zero. */
void block_table_start_region(void);

/* Instructions by thread and class over all blocks since block_table_start_region(). */
void block_table_sum(uint64_t instructions[SHUFFLEC_MAX_THREADS][SHUFFLEC_CLASSES]);

/* Calls visit(block, executions[threads], data) for every block that ran since block_table_start_region(), in the order
 * of translation. */
typedef void (*BlockVisitor)(const struct Block *block, const uint64_t *executions, void *data);
void block_table_visit(BlockVisitor visit, void *data);

#endif /* SHUFFLEC_BLOCK_TABLE_H_ */
