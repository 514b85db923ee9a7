#include "clock_client.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "../common/clock_protocol.h"
#include "block_table.h"

static struct sockaddr_un address = {.sun_family = AF_UNIX};

int clock_client_set_socket(const char *path) {
  size_t length = strlen(path);
  if (!length || length >= sizeof address.sun_path) return -1;
  memcpy(address.sun_path, path, length + 1);
  return 0;
}

int clock_client_present(void) { return address.sun_path[0] != 0; }

struct Buffer {
  char *bytes;
  size_t used, capacity;
  int out_of_memory;
};

static void append(struct Buffer *buffer, const void *bytes, size_t size) {
  if (buffer->used + size > buffer->capacity && !buffer->out_of_memory) {
    size_t larger = 2 * buffer->capacity + size + (1 << 16);
    char *moved = realloc(buffer->bytes, larger);
    if (moved) {
      buffer->bytes = moved;
      buffer->capacity = larger;
    } else {
      buffer->out_of_memory = 1;
    }
  }
  if (buffer->out_of_memory) return;
  memcpy(buffer->bytes + buffer->used, bytes, size);
  buffer->used += size;
}

static void append_block(struct Buffer *buffer, const struct Block *block) {
  static const char padding[8] = {0};
  struct ClockBlock head = {block->address, block->length, 0};
  append(buffer, &head, sizeof head);
  append(buffer, block->words, block->length * sizeof *block->words);
  if (block->length % 2) append(buffer, padding, sizeof *block->words);
}

static void append_run(struct Buffer *buffer, const struct Run *run, uint32_t block) {
  const struct CacheMisses *misses = &run->share.misses;
  struct ClockRun packed = {block,
                            run->section,
                            run->thread,
                            0,
                            run->share.executions,
                            misses->l1_loads,
                            misses->l1_stores,
                            misses->dram_fills,
                            misses->dram_writes};
  append(buffer, &packed, sizeof packed);
}

/* Each block once, then all runs; a run names its block by its place among them. */
static void append_region(struct Buffer *buffer) {
  size_t count = 0, blocks = 0;
  const struct Run *runs = block_table_runs(&count);
  uint32_t highest = 0;
  for (size_t i = 0; i < count; i++) highest = runs[i].block->number > highest ? runs[i].block->number : highest;
  uint32_t *places = calloc((size_t)highest + 1, sizeof *places); /* plus one; zero: not seen yet */
  if (!places) buffer->out_of_memory = 1;
  struct ClockRequest header = {.magic = SHUFFLEC_CLOCK_MAGIC, .threads = block_table_threads(), .runs = count};
  append(buffer, &header, sizeof header);
  for (size_t i = 0; i < count && !buffer->out_of_memory; i++) {
    if (places[runs[i].block->number]) continue;
    places[runs[i].block->number] = (uint32_t)++blocks;
    append_block(buffer, runs[i].block);
  }
  for (size_t i = 0; i < count && !buffer->out_of_memory; i++) {
    append_run(buffer, &runs[i], places[runs[i].block->number] - 1);
  }
  free(places);
  if (buffer->out_of_memory) return;
  header.bytes = buffer->used;
  header.blocks = (uint32_t)blocks;
  memcpy(buffer->bytes, &header, sizeof header);
}

static int send_all(int socket_fd, const char *bytes, size_t size) {
  while (size) {
    ssize_t sent = send(socket_fd, bytes, size, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent <= 0) return -1;
    bytes += sent;
    size -= (size_t)sent;
  }
  return 0;
}

static int receive_all(int socket_fd, char *bytes, size_t size) {
  while (size) {
    ssize_t got = recv(socket_fd, bytes, size, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return -1;
    bytes += got;
    size -= (size_t)got;
  }
  return 0;
}

static void fail(struct ShufflecEstimate *estimate, const char *problem) {
  memset(estimate, 0, sizeof *estimate);
  estimate->state = SHUFFLEC_ESTIMATE_FAILED;
  snprintf(estimate->problem, sizeof estimate->problem, "%s", problem);
}

static int ask(const struct Buffer *request, struct ShufflecEstimate *estimate) {
  int socket_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (socket_fd < 0) return -1;
  int failed = connect(socket_fd, (const struct sockaddr *)&address, sizeof address) != 0 ||
               send_all(socket_fd, request->bytes, request->used) != 0 ||
               receive_all(socket_fd, (char *)estimate, sizeof *estimate) != 0;
  close(socket_fd);
  return failed ? -1 : 0;
}

void clock_client_estimate(struct ShufflecEstimate *estimate) {
  struct Buffer request = {0};
  append_region(&request);
  if (request.out_of_memory) {
    fail(estimate, "no memory to ask the virtual board's clock");
  } else {
    if (ask(&request, estimate) != 0) fail(estimate, "the virtual board's clock has ended; start the board anew");
    estimate->problem[sizeof estimate->problem - 1] = 0;
  }
  free(request.bytes);
}
