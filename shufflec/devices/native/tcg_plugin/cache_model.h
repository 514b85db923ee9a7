/* The board's data caches: which accesses miss, and how many lines move between the last level and the memory.
 *
 * Every level is least-recently-used, write-back and write-allocate; a line that a dirty eviction brings into the next
 * level is written whole, so it is not fetched from below. Addresses are the guest's virtual ones. Instruction fetches,
 * prefetchers and TLBs are not modelled.
 *
 * Threads have the levels before the first shared one to themselves; a line that one of them writes leaves the others'
 * caches, and one that another holds dirty comes from there. The emulator runs threads one after the other that run side
 * by side on the board, so what they ask of the shared levels is kept until all have run, and then put in the order that
 * it would have had if each had made its n-th access when the others made theirs.
 */
#ifndef SHUFFLEC_CACHE_MODEL_H_
#define SHUFFLEC_CACHE_MODEL_H_

#include <stdint.h>

#define CACHE_LEVELS_MAX 3

struct CacheLevel {
  uint32_t sets;   /* a power of two */
  uint32_t ways;
  uint32_t shared; /* by all threads, as is every level after it; 0: each thread has its own. Never the first level. */
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

/* From here on the threads' accesses are side by side, until cache_model_join(): only then are dram_fills and
 * dram_writes counted, so that every `misses` given between the two must last until then. */
void cache_model_fork(void);

/* Returns -1 when memory was out since cache_model_fork(). */
int cache_model_join(void);

/* One access of `size` bytes (at least 1, at most a line) at `address` by a thread; misses are added to *misses. Not
 * for several host threads at once. A thread that was not configured is ignored. */
void cache_model_access(unsigned thread, uint64_t address, unsigned size, int store, struct CacheMisses *misses);

#endif /* SHUFFLEC_CACHE_MODEL_H_ */
