#include "block_table.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "a64_class.h"

static struct Block **blocks;
static size_t count, capacity;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

struct Block *block_table_add(uint64_t address, const uint32_t *words, uint32_t length) {
  struct Block *block = calloc(1, sizeof *block);
  uint32_t *copy = malloc(length * sizeof *copy);
  if (!block || !copy) goto out_of_memory;
  memcpy(copy, words, length * sizeof *copy);
  block->address = address;
  block->length = length;
  block->words = copy;
  for (uint32_t i = 0; i < length; i++) block->instructions[shufflec_a64_class(words[i])]++;

  pthread_mutex_lock(&lock);
  if (count == capacity) {
    size_t larger = capacity ? 2 * capacity : 4096;
    struct Block **moved = realloc(blocks, larger * sizeof *moved);
    if (!moved) {
      pthread_mutex_unlock(&lock);
      goto out_of_memory;
    }
    blocks = moved;
    capacity = larger;
  }
  blocks[count++] = block;
  pthread_mutex_unlock(&lock);
  return block;

out_of_memory:
  free(copy);
  free(block);
  return NULL;
}

static uint64_t executions(const struct Block *block) {
  return __atomic_load_n(&block->executions, __ATOMIC_RELAXED);
}

void block_table_start_region(void) {
  pthread_mutex_lock(&lock);
  for (size_t i = 0; i < count; i++) blocks[i]->executions_at_start = executions(blocks[i]);
  pthread_mutex_unlock(&lock);
}

void block_table_sum(uint64_t instructions[SHUFFLEC_CLASSES]) {
  memset(instructions, 0, SHUFFLEC_CLASSES * sizeof *instructions);
  pthread_mutex_lock(&lock);
  for (size_t i = 0; i < count; i++) {
    uint64_t ran = executions(blocks[i]) - blocks[i]->executions_at_start;
    if (!ran) continue;
    for (int c = 0; c < SHUFFLEC_CLASSES; c++) instructions[c] += ran * blocks[i]->instructions[c];
  }
  pthread_mutex_unlock(&lock);
}
