#include "cache_model.h"

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

/* What a thread asks of the first shared level: a line, or that it takes a dirty one. */
struct Request {
  uint64_t line; /* with DIRTY when it is a write-back */
  uint64_t time; /* accesses of the thread so far */
  struct CacheMisses *misses;
};

struct Requests {
  struct Request *items;
  size_t count, capacity;
};

static struct Cache caches[CACHE_LEVELS_MAX][SHUFFLEC_MAX_THREADS]; /* of a shared level, the first one only */
static unsigned level_count, own_count, thread_count, line_shift; /* own: levels before the first shared one */
/* The line that each thread used last and whether it is dirty: most accesses go there again and change nothing. */
static struct {
  uint64_t line;
  int dirty;
} latest[SHUFFLEC_MAX_THREADS];
static uint64_t accesses[SHUFFLEC_MAX_THREADS]; /* since cache_model_fork() */
static struct Requests pending[SHUFFLEC_MAX_THREADS];
static int forked, out_of_memory;

static int is_shared(unsigned level) { return level >= own_count; }

int cache_model_configure(const struct CacheLevel *levels, unsigned count, unsigned line_bytes, unsigned threads) {
  if (count < 1 || count > CACHE_LEVELS_MAX || threads < 1 || threads > SHUFFLEC_MAX_THREADS) return -1;
  if (line_bytes < 16 || (line_bytes & (line_bytes - 1)) || levels[0].shared) return -1;
  own_count = 0;
  while (own_count < count && !levels[own_count].shared) own_count++;
  for (unsigned k = 0; k < count; k++) {
    if (!levels[k].sets || (levels[k].sets & (levels[k].sets - 1)) || !levels[k].ways) return -1;
    if (is_shared(k) != !!levels[k].shared) return -1;
    for (unsigned t = 0; t < (is_shared(k) ? 1 : threads); t++) {
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
    for (unsigned t = 0; t < (is_shared(k) ? 1 : thread_count); t++) {
      struct Cache *cache = &caches[k][t];
      memset(cache->lines, 0, (size_t)cache->sets * cache->ways * sizeof *cache->lines);
    }
  }
  for (unsigned t = 0; t < SHUFFLEC_MAX_THREADS; t++) {
    latest[t].line = UINT64_MAX;
    latest[t].dirty = 0;
    pending[t].count = 0;
  }
  forked = out_of_memory = 0;
}

static struct Cache *cache_of(unsigned level, unsigned thread) { return &caches[level][is_shared(level) ? 0 : thread]; }

static uint64_t *set_of(struct Cache *cache, uint64_t line) {
  return cache->lines + (line & (cache->sets - 1)) * cache->ways;
}

/* Makes `line` the newest of its set. Returns whether it was there; else *evicted is the way that had to go, or NONE. */
static int use(struct Cache *cache, uint64_t line, uint64_t dirty, uint64_t *evicted) {
  uint64_t *set = set_of(cache, line);
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

static void write_back(unsigned level, unsigned thread, uint64_t evicted, struct CacheMisses *misses);

/* A line from `level` or the levels below it, as a miss of the level before asks for it. */
static void fetch(unsigned level, unsigned thread, uint64_t line, struct CacheMisses *misses) {
  for (; level < level_count; level++) {
    uint64_t evicted = NONE;
    if (use(cache_of(level, thread), line, 0, &evicted)) return;
    write_back(level, thread, evicted, misses);
  }
  misses->dram_fills++;
}

/* A dirty line comes to `level`, where it may push out another. */
static void take_dirty(unsigned level, unsigned thread, uint64_t line, struct CacheMisses *misses) {
  uint64_t evicted = NONE;
  if (level == level_count) {
    misses->dram_writes++;
  } else if (!use(cache_of(level, thread), line, DIRTY, &evicted)) {
    write_back(level, thread, evicted, misses);
  }
}

static void ask_shared(unsigned thread, uint64_t line, struct CacheMisses *misses) {
  if (!forked) {
    if (line & DIRTY) {
      take_dirty(own_count, thread, line & ~DIRTY, misses);
    } else {
      fetch(own_count, thread, line, misses);
    }
    return;
  }
  struct Requests *list = &pending[thread];
  if (list->count == list->capacity) {
    size_t larger = 2 * list->capacity + 4096;
    struct Request *moved = realloc(list->items, larger * sizeof *moved);
    if (!moved) {
      out_of_memory = 1;
      return;
    }
    list->items = moved;
    list->capacity = larger;
  }
  list->items[list->count++] = (struct Request){line, accesses[thread], misses};
}

/* A way has left `level`: if it is dirty, its line goes one level down. */
static void write_back(unsigned level, unsigned thread, uint64_t evicted, struct CacheMisses *misses) {
  if (!(evicted & DIRTY)) return;
  uint64_t line = (evicted & ~DIRTY) - 1;
  if (level + 1 == own_count) {
    ask_shared(thread, line | DIRTY, misses);
  } else {
    take_dirty(level + 1, thread, line, misses);
  }
}

/* Takes a line out of the other threads' caches (`store`), or leaves it there clean. Returns whether one was dirty. */
static int snoop(unsigned thread, uint64_t line, int store) {
  uint64_t dirty = 0;
  for (unsigned t = 0; t < thread_count; t++) {
    if (t == thread) continue;
    if (latest[t].line == line) latest[t].line = UINT64_MAX;
    for (unsigned k = 0; k < own_count; k++) {
      struct Cache *cache = &caches[k][t];
      uint64_t *set = set_of(cache, line);
      for (uint32_t way = 0; way < cache->ways; way++) {
        if ((set[way] & ~DIRTY) != line + 1) continue;
        dirty |= set[way] & DIRTY;
        set[way] = line + 1;
        if (!store) break;
        memmove(set + way, set + way + 1, (cache->ways - 1 - way) * sizeof *set);
        set[cache->ways - 1] = NONE;
        break;
      }
    }
  }
  return dirty != 0;
}

static int holds_dirty(unsigned thread, uint64_t line) {
  struct Cache *cache = &caches[0][thread];
  uint64_t *set = set_of(cache, line);
  for (uint32_t way = 0; way < cache->ways; way++) {
    if (set[way] == ((line + 1) | DIRTY)) return 1;
  }
  return 0;
}

static void access_line(unsigned thread, uint64_t line, int store, struct CacheMisses *misses) {
  uint64_t evicted = NONE;
  int alone = thread_count == 1 || (store && holds_dirty(thread, line));
  if (use(cache_of(0, thread), line, store ? DIRTY : 0, &evicted)) {
    if (store && !alone) snoop(thread, line, store);
    return;
  }
  if (store) {
    misses->l1_stores++;
  } else {
    misses->l1_loads++;
  }
  int others = !alone && snoop(thread, line, store);
  write_back(0, thread, evicted, misses);
  for (unsigned level = 1; level < own_count; level++) {
    evicted = NONE;
    if (use(cache_of(level, thread), line, 0, &evicted)) return;
    write_back(level, thread, evicted, misses);
  }
  /* What another thread held dirty goes through the shared level: it is written there and read from it. */
  ask_shared(thread, others ? line | DIRTY : line, misses);
}

void cache_model_access(unsigned thread, uint64_t address, unsigned size, int store, struct CacheMisses *misses) {
  if (thread >= thread_count) return;
  accesses[thread]++;
  uint64_t first = address >> line_shift, last = (address + size - 1) >> line_shift;
  if (first == latest[thread].line && last == first && (!store || latest[thread].dirty)) return;
  access_line(thread, first, store, misses);
  if (last != first) access_line(thread, last, store, misses);
  latest[thread].line = last;
  latest[thread].dirty = store;
}

void cache_model_fork(void) {
  memset(accesses, 0, sizeof accesses);
  forked = 1;
}

int cache_model_join(void) {
  size_t next[SHUFFLEC_MAX_THREADS] = {0};
  forked = 0;
  for (;;) {
    int first = -1;
    for (unsigned t = 0; t < thread_count; t++) {
      if (next[t] == pending[t].count) continue;
      if (first < 0 || pending[t].items[next[t]].time < pending[first].items[next[first]].time) first = (int)t;
    }
    if (first < 0) break;
    const struct Request *request = &pending[first].items[next[first]++];
    ask_shared((unsigned)first, request->line, request->misses);
  }
  for (unsigned t = 0; t < thread_count; t++) pending[t].count = 0;
  int failed = out_of_memory;
  out_of_memory = 0;
  return failed ? -1 : 0;
}
