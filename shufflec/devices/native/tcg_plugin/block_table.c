#include "block_table.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "a64_class.h"

static struct Block **blocks;
static size_t count, capacity;
static unsigned threads = 1;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

void block_table_set_threads(unsigned wanted) { threads = wanted; }

unsigned block_table_threads(void) { return threads; }

static struct Block *new_block(uint64_t address, const uint32_t *words, uint32_t length) {
  size_t counters = threads * sizeof(uint64_t);
  struct Block *block = calloc(1, sizeof *block + 2 * counters);
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
  block->executions_at_start = block->executions + threads;
  for (uint32_t i = 0; i < length; i++) block->instructions[shufflec_a64_class(words[i])]++;
  return block;
}

struct Block *block_table_add(uint64_t address, const uint32_t *words, uint32_t length) {
  struct Block *block = new_block(address, words, length);
  if (!block) return NULL;
  pthread_mutex_lock(&lock);
  if (count == capacity) {
    size_t larger = capacity ? 2 * capacity : 4096;
    struct Block **moved = realloc(blocks, larger * sizeof *moved);
    if (!moved) {
      pthread_mutex_unlock(&lock);
      free(block->words);
      free(block);
      return NULL;
    }
    blocks = moved;
    capacity = larger;
  }
  blocks[count++] = block;
  pthread_mutex_unlock(&lock);
  return block;
}

/* Another thread may be counting at this moment: its counter is read whole, before or after. */
static uint64_t executions(const struct Block *block, unsigned thread) {
  return __atomic_load_n(&block->executions[thread], __ATOMIC_RELAXED);
}

void block_table_start_region(void) {
  pthread_mutex_lock(&lock);
  for (size_t i = 0; i < count; i++) {
    for (unsigned t = 0; t < threads; t++) blocks[i]->executions_at_start[t] = executions(blocks[i], t);
    memset(&blocks[i]->misses, 0, sizeof blocks[i]->misses);
  }
  pthread_mutex_unlock(&lock);
}

void block_table_sum(uint64_t instructions[SHUFFLEC_MAX_THREADS][SHUFFLEC_CLASSES]) {
  memset(instructions, 0, SHUFFLEC_MAX_THREADS * sizeof *instructions);
  pthread_mutex_lock(&lock);
  for (size_t i = 0; i < count; i++) {
    for (unsigned t = 0; t < threads; t++) {
      uint64_t ran = executions(blocks[i], t) - blocks[i]->executions_at_start[t];
      if (!ran) continue;
      for (int c = 0; c < SHUFFLEC_CLASSES; c++) instructions[t][c] += ran * blocks[i]->instructions[c];
    }
  }
  pthread_mutex_unlock(&lock);
}

void block_table_visit(BlockVisitor visit, void *data) {
  pthread_mutex_lock(&lock);
  for (size_t i = 0; i < count; i++) {
    uint64_t ran[SHUFFLEC_MAX_THREADS], any = 0;
    for (unsigned t = 0; t < threads; t++) {
      ran[t] = executions(blocks[i], t) - blocks[i]->executions_at_start[t];
      any |= ran[t];
    }
    if (any) visit(blocks[i], ran, data);
  }
  pthread_mutex_unlock(&lock);
}
