#include "cache_model.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "../common/counters.h"

/* A way holds its line number plus one, so that zero is empty, and a flag. A set is ordered by use, newest first. */
#define DIRTY (UINT64_C(1) << 63)
#define NONE 0

struct Cache {
  uint32_t sets, ways;
  uint64_t *lines; /* [sets][ways] */
};

static struct Cache caches[CACHE_LEVELS_MAX][SHUFFLEC_MAX_THREADS]; /* of a shared level, the first one only */
static struct CacheLevel shape[CACHE_LEVELS_MAX];
static unsigned level_count, thread_count, line_shift;
/* The line that each thread used last and whether it is dirty: most accesses go there again and change nothing. */
static struct {
  uint64_t line;
  int dirty;
  char padding[64 - sizeof(uint64_t) - sizeof(int)]; /* a host cache line of its own */
} latest[SHUFFLEC_MAX_THREADS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of what lies below the first level, and of the misses */

int cache_model_configure(const struct CacheLevel *levels, unsigned count, unsigned line_bytes, unsigned threads) {
  if (count < 1 || count > CACHE_LEVELS_MAX || threads < 1 || threads > SHUFFLEC_MAX_THREADS) return -1;
  if (line_bytes < 16 || (line_bytes & (line_bytes - 1)) || levels[0].shared) return -1;
  for (unsigned k = 0; k < count; k++) {
    if (!levels[k].sets || (levels[k].sets & (levels[k].sets - 1)) || !levels[k].ways) return -1;
    shape[k] = levels[k];
    for (unsigned t = 0; t < (levels[k].shared ? 1 : threads); t++) {
      uint64_t *lines = calloc((size_t)levels[k].sets * levels[k].ways, sizeof *lines);
      if (!lines) return -1;
      free(caches[k][t].lines);
      caches[k][t] = (struct Cache){levels[k].sets, levels[k].ways, lines};
    }
  }
  for (line_shift = 0; 1u << line_shift < line_bytes;) line_shift++;
  level_count = count;
  thread_count = threads;
  cache_model_clear();
  return 0;
}

int cache_model_configured(void) { return level_count > 0; }

void cache_model_clear(void) {
  for (unsigned k = 0; k < level_count; k++) {
    for (unsigned t = 0; t < (shape[k].shared ? 1 : thread_count); t++) {
      struct Cache *cache = &caches[k][t];
      memset(cache->lines, 0, (size_t)cache->sets * cache->ways * sizeof *cache->lines);
    }
  }
  for (unsigned t = 0; t < SHUFFLEC_MAX_THREADS; t++) {
    latest[t].line = UINT64_MAX;
    latest[t].dirty = 0;
  }
}

static struct Cache *cache_of(unsigned level, unsigned thread) { return &caches[level][shape[level].shared ? 0 : thread]; }

/* Makes `line` the newest of its set. Returns whether it was there; else *evicted is the way that had to go, or NONE. */
static int use(struct Cache *cache, uint64_t line, uint64_t dirty, uint64_t *evicted) {
  uint64_t *set = cache->lines + (line & (cache->sets - 1)) * cache->ways;
  uint64_t kept = line + 1;
  uint32_t way = 0;
  while (way < cache->ways && (set[way] & ~DIRTY) != kept) way++;
  int hit = way < cache->ways;
  if (hit) {
    kept = set[way];
  } else {
    way = cache->ways - 1;
    *evicted = set[way];
  }
  memmove(set + 1, set, way * sizeof *set);
  set[0] = kept | dirty;
  return hit;
}

/* A way has left `level`: if it is dirty, its line goes one level down, where it may push out another. */
static void write_back(unsigned level, unsigned thread, uint64_t evicted, struct CacheMisses *misses) {
  while (evicted & DIRTY) {
    if (++level == level_count) {
      misses->dram_writes++;
      return;
    }
    uint64_t line = (evicted & ~DIRTY) - 1;
    evicted = NONE;
    use(cache_of(level, thread), line, DIRTY, &evicted);
  }
}

static void access_line(unsigned thread, uint64_t line, int store, struct CacheMisses *misses) {
  uint64_t evicted = NONE;
  if (use(cache_of(0, thread), line, store ? DIRTY : 0, &evicted)) return;
  if (thread_count > 1) pthread_mutex_lock(&lock);
  if (store) {
    misses->l1_stores++;
  } else {
    misses->l1_loads++;
  }
  write_back(0, thread, evicted, misses);
  unsigned level = 1;
  for (; level < level_count; level++) {
    evicted = NONE;
    if (use(cache_of(level, thread), line, 0, &evicted)) break;
    write_back(level, thread, evicted, misses);
  }
  if (level == level_count) misses->dram_fills++;
  if (thread_count > 1) pthread_mutex_unlock(&lock);
}

void cache_model_access(unsigned thread, uint64_t address, unsigned size, int store, struct CacheMisses *misses) {
  if (thread >= thread_count) return;
  uint64_t first = address >> line_shift, last = (address + size - 1) >> line_shift;
  if (first == latest[thread].line && last == first && (!store || latest[thread].dirty)) return;
  access_line(thread, first, store, misses);
  if (last != first) access_line(thread, last, store, misses);
  latest[thread].line = last;
  latest[thread].dirty = store;
}
