#include "block_table.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "a64_class.h"

/* Blocks lie in chunks that never move, counters beside each other: every change of thread looks at all of them. */
#define CHUNK_BLOCKS 4096
#define CHUNKS_MAX 4096

struct Chunk {
  uint64_t executions[CHUNK_BLOCKS], seen[CHUNK_BLOCKS]; /* seen: given to a thread already */
  struct Block *blocks[CHUNK_BLOCKS];
};

static struct Chunk *chunks[CHUNKS_MAX];
static size_t count;
static unsigned threads = 1;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of the chunks and their number */

static unsigned current;                 /* thread */
static uint32_t section, sections;       /* the one that is open; the last one side by side */
static struct Block **open;              /* blocks with a share in the open section, each once */
static size_t open_count, open_capacity;
static struct Run *runs;
static size_t run_count, run_capacity;
static int out_of_memory;

void block_table_set_threads(unsigned wanted) { threads = wanted; }

unsigned block_table_threads(void) { return threads; }

static struct Block *new_block(uint64_t address, const uint32_t *words, uint32_t length) {
  struct Block *block = calloc(1, sizeof *block + threads * sizeof block->shares[0]);
  uint32_t *copy = malloc(length * sizeof *copy);
  if (!block || !copy) {
    free(copy);
    free(block);
    return NULL;
  }
  memcpy(copy, words, length * sizeof *copy);
  block->address = address;
  block->length = length;
  block->words = copy;
  for (uint32_t i = 0; i < length; i++) block->instructions[shufflec_a64_class(words[i])]++;
  return block;
}

static int append_block(struct Block *block) {
  size_t chunk = count / CHUNK_BLOCKS, place = count % CHUNK_BLOCKS;
  if (chunk == CHUNKS_MAX) return -1;
  if (!chunks[chunk] && !(chunks[chunk] = calloc(1, sizeof **chunks))) return -1;
  block->number = (uint32_t)count++;
  block->executions = &chunks[chunk]->executions[place];
  chunks[chunk]->blocks[place] = block;
  return 0;
}

struct Block *block_table_add(uint64_t address, const uint32_t *words, uint32_t length) {
  struct Block *block = new_block(address, words, length);
  if (!block) return NULL;
  pthread_mutex_lock(&lock);
  int failed = append_block(block);
  pthread_mutex_unlock(&lock);
  if (!failed) return block;
  free(block->words);
  free(block);
  return NULL;
}

/* Room for one more of `size` bytes each in *items, else out_of_memory. */
static void *grown(void *items, size_t used, size_t *capacity, size_t size) {
  if (used < *capacity) return items;
  size_t larger = 2 * *capacity + 4096;
  void *moved = realloc(items, larger * size);
  if (!moved) {
    out_of_memory = 1;
    return items;
  }
  *capacity = larger;
  return moved;
}

static void give(struct Block *block, uint64_t executions) {
  int already = 0;
  for (unsigned t = 0; t < threads; t++) already |= block->shares[t].executions != 0;
  block->shares[current].executions += executions;
  if (already) return;
  open = grown(open, open_count, &open_capacity, sizeof *open);
  if (!out_of_memory) open[open_count++] = block;
}

/* Calls `give` for all that ran since it was called last, or only forgets it. */
static void take_executions(int forget) {
  pthread_mutex_lock(&lock);
  for (size_t i = 0; i < count; i++) {
    struct Chunk *chunk = chunks[i / CHUNK_BLOCKS];
    size_t place = i % CHUNK_BLOCKS;
    /* Another host thread may be counting at this moment: its counter is read whole, before or after. */
    uint64_t executions = __atomic_load_n(&chunk->executions[place], __ATOMIC_RELAXED);
    uint64_t more = executions - chunk->seen[place];
    chunk->seen[place] = executions;
    if (more && !forget) give(chunk->blocks[place], more);
  }
  pthread_mutex_unlock(&lock);
}

void block_table_start_region(void) {
  for (size_t i = 0; i < count; i++) {
    struct Block *block = chunks[i / CHUNK_BLOCKS]->blocks[i % CHUNK_BLOCKS];
    memset(block->shares, 0, threads * sizeof *block->shares);
  }
  open_count = run_count = 0;
  section = sections = current = 0;
  out_of_memory = 0;
  take_executions(1);
}

void block_table_switch(unsigned thread) {
  take_executions(0);
  current = thread;
}

static void close_section(void) {
  take_executions(0);
  for (size_t i = 0; i < open_count; i++) {
    for (unsigned t = 0; t < threads; t++) {
      struct Share *share = &open[i]->shares[t];
      if (!share->executions) continue;
      runs = grown(runs, run_count, &run_capacity, sizeof *runs);
      if (!out_of_memory) runs[run_count++] = (struct Run){open[i], section, t, *share};
    }
    memset(open[i]->shares, 0, threads * sizeof *open[i]->shares);
  }
  open_count = 0;
}

int block_table_next_section(int side_by_side) {
  close_section();
  section = side_by_side ? ++sections : 0;
  current = 0;
  return out_of_memory ? -1 : 0;
}

int block_table_stop_region(void) { return block_table_next_section(0); }

const struct Run *block_table_runs(size_t *run_total) {
  *run_total = run_count;
  return runs;
}

void block_table_sum(uint64_t instructions[SHUFFLEC_MAX_THREADS][SHUFFLEC_CLASSES]) {
  memset(instructions, 0, SHUFFLEC_MAX_THREADS * sizeof *instructions);
  for (size_t i = 0; i < run_count; i++) {
    const struct Run *run = &runs[i];
    for (int c = 0; c < SHUFFLEC_CLASSES; c++) {
      instructions[run->thread][c] += run->share.executions * run->block->instructions[c];
    }
  }
}
