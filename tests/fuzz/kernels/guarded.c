/* Runs kernels on an emulated core, each buffer between unmapped pages, and answers what became of the memory.
 *
 * Requests on stdin, answers on stdout, both of native int32 and bytes:
 *   request: length of a path and the path of a shared library with the function `kernel`;
 *            bytes of arena, weights, requant, accumulators; 1 where the buffers begin on a page, 0 where they end
 *            on one; whether the accumulators may be written; in0, in1, out, scratch; the number of ranges and each
 *            one's begin and end; the content of the four buffers.
 *   answer:  a signal's number or 0; which buffer the faulting address is nearest to (index) and its distance from
 *            that buffer's start; then arena and accumulators as they are now.
 */
#include <dlfcn.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

typedef int (*kernel_function)(void *, const void *, const void *, const void *, int, int, int, int, int, int);

enum { BUFFERS = 4, ARENA = 0, ACCUMULATORS = 3, PAGE = 4096, GUARD = 1 << 20, SECONDS = 60 };

struct buffer {
  char *mapping, *start;
  size_t mapped, inner, size;
};

static sigjmp_buf back;
static volatile char *fault_address;

static void on_signal(int number, siginfo_t *info, void *context) {
  (void)context;
  fault_address = info->si_addr;
  siglongjmp(back, number);
}

static void take(void *to, size_t size) {
  if (size && fread(to, 1, size, stdin) != size) exit(3);
}

static int32_t take_int(void) {
  int32_t value;
  take(&value, sizeof value);
  return value;
}

static void give(const void *from, size_t size) {
  if (fwrite(from, 1, size, stdout) != size) exit(4);
}

/* Maps `size` bytes that begin (or end) on a page, with GUARD unmapped bytes on either side. */
static struct buffer map_buffer(size_t size, int at_front) {
  struct buffer b = {.size = size, .inner = (size + PAGE - 1) / PAGE * PAGE};
  b.mapped = b.inner + 2 * GUARD;
  b.mapping = mmap(NULL, b.mapped, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (b.mapping == MAP_FAILED) exit(5);
  if (b.inner && mprotect(b.mapping + GUARD, b.inner, PROT_READ | PROT_WRITE)) exit(6);
  b.start = b.mapping + GUARD + (at_front ? 0 : b.inner - size);
  take(b.start, size);
  return b;
}

static void locate(const struct buffer *buffers, int32_t *nearest, int32_t *distance) {
  *nearest = *distance = -1;
  for (int i = 0; i < BUFFERS; i++) {
    const char *address = (const char *)fault_address;
    if (address < buffers[i].mapping || address >= buffers[i].mapping + buffers[i].mapped) continue;
    *nearest = i;
    *distance = (int32_t)(address - buffers[i].start);
  }
}

static void answer_one(int path_length) {
  char path[4096] = {0};
  int32_t sizes[BUFFERS], ranges[64][2];
  struct buffer b[BUFFERS];
  if (path_length <= 0 || path_length >= (int)sizeof path) exit(7);
  take(path, path_length);
  take(sizes, sizeof sizes);
  int at_front = take_int(), writes_accumulators = take_int();
  int in0 = take_int(), in1 = take_int(), out = take_int(), scratch = take_int(), count = take_int();
  if (count < 0 || count > 64) exit(8);
  take(ranges, sizeof ranges[0] * count);
  for (int i = 0; i < BUFFERS; i++) b[i] = map_buffer(sizes[i], at_front);
  for (int i = 1; i < BUFFERS; i++)
    if (b[i].inner && !(i == ACCUMULATORS && writes_accumulators)) mprotect(b[i].mapping + GUARD, b[i].inner, PROT_READ);
  void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  kernel_function kernel = library ? (kernel_function)dlsym(library, "kernel") : NULL;
  if (!kernel) {
    fprintf(stderr, "%s\n", dlerror());
    exit(9);
  }
  int32_t status[3] = {0, -1, -1};
  status[0] = sigsetjmp(back, 1);
  if (status[0] == 0) {
    alarm(SECONDS);
    for (int i = 0; i < count; i++)
      kernel(b[0].start, b[1].start, b[2].start, b[3].start, in0, in1, out, scratch, ranges[i][0], ranges[i][1]);
  } else {
    locate(b, &status[1], &status[2]);
  }
  alarm(0);
  give(status, sizeof status);
  give(b[ARENA].start, b[ARENA].size);
  give(b[ACCUMULATORS].start, b[ACCUMULATORS].size);
  fflush(stdout);
  dlclose(library);
  for (int i = 0; i < BUFFERS; i++) munmap(b[i].mapping, b[i].mapped);
}

int main(void) {
  int32_t length;
  struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_NODEFER};
  int caught[] = {SIGSEGV, SIGBUS, SIGILL, SIGTRAP, SIGALRM};
  for (size_t i = 0; i < sizeof caught / sizeof *caught; i++) sigaction(caught[i], &action, NULL);
  while (fread(&length, sizeof length, 1, stdin) == 1) answer_one(length);
  return 0;
}
