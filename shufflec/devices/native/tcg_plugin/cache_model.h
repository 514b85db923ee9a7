/* The board's data caches: which accesses miss, and how many lines move between the last level and the memory.
 *
 * Every level is least-recently-used, write-back and write-allocate; a line that a dirty eviction brings into the next
 * level is written whole, so it is not fetched from below. Addresses are the guest's virtual ones. Instruction fetches,
 * prefetchers, TLBs and coherence between cores are not modelled.
 */
#ifndef SHUFFLEC_CACHE_MODEL_H_
#define SHUFFLEC_CACHE_MODEL_H_

#include <stdint.h>

#define CACHE_LEVELS_MAX 3

struct CacheLevel {
  uint32_t sets;   /* a power of two */
  uint32_t ways;
  uint32_t shared; /* by all threads; 0: each thread has its own. The first level is never shared. */
};

struct CacheMisses {
  uint64_t l1_loads;    /* load accesses to a line that the first level does not hold */
  uint64_t l1_stores;   /* the same for stores */
  uint64_t dram_fills;  /* lines that no level holds */
  uint64_t dram_writes; /* dirty lines that leave the last level */
};

/* Sets the hierarchy up, empty: levels[count], the nearest first, with lines of line_bytes (a power of two). Call it
 * once. Returns 0, or -1 for a hierarchy that cannot be, or when memory is out. */
int cache_model_configure(const struct CacheLevel *levels, unsigned count, unsigned line_bytes, unsigned threads);

/* Whether cache_model_configure succeeded. */
int cache_model_configured(void);

/* Forgets every line; nothing is written back. */
void cache_model_clear(void);

/* One access of `size` bytes (at least 1, at most a line) at `address` by a thread; misses are added to *misses.
 * Threads may call it at the same time, with the same *misses. A thread that was not configured is ignored. */
void cache_model_access(unsigned thread, uint64_t address, unsigned size, int store, struct CacheMisses *misses);

#endif /* SHUFFLEC_CACHE_MODEL_H_ */
