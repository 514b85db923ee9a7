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

static struct ClockRequest request_header(const struct Buffer *buffer) {
  struct ClockRequest header;
  memcpy(&header, buffer->bytes, sizeof header);
  return header;
}

static void append_block(const struct Block *block, const uint64_t *executions, void *data) {
  static const char padding[8] = {0};
  struct Buffer *buffer = data;
  const struct CacheMisses *misses = &block->misses;
  struct ClockBlock head = {block->address,  misses->l1_loads, misses->l1_stores, misses->dram_fills + misses->dram_writes,
                            block->length, 0};
  append(buffer, &head, sizeof head);
  append(buffer, executions, block_table_threads() * sizeof *executions);
  append(buffer, block->words, block->length * sizeof *block->words);
  if (block->length % 2) append(buffer, padding, sizeof *block->words);
  if (buffer->out_of_memory) return;
  struct ClockRequest header = request_header(buffer);
  header.blocks++;
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
  struct ClockRequest header = {.magic = SHUFFLEC_CLOCK_MAGIC, .threads = block_table_threads()};
  append(&request, &header, sizeof header);
  if (!request.out_of_memory) block_table_visit(append_block, &request);
  if (request.out_of_memory) {
    fail(estimate, "no memory to ask the virtual board's clock");
  } else {
    header = request_header(&request);
    header.bytes = request.used;
    memcpy(request.bytes, &header, sizeof header);
    if (ask(&request, estimate) != 0) fail(estimate, "the virtual board's clock has ended; start the board anew");
    estimate->problem[sizeof estimate->problem - 1] = 0;
  }
  free(request.bytes);
}
