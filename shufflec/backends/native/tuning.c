/* Candidates for tuning, offered to TVM: each layer of the step table is one candidate, a kernel call of its own.
 *
 * A candidate is timed as it runs inside a network: before it, as many other bytes are read as the rest of the network
 * has, so that its constants are where an inference earlier has left them; then its input is written, as the layer
 * before it does. Only the call itself is timed. */
#include <stdio.h>
#include <string.h>
#include <tvm/ffi/c_api.h>

#include "shufflec.h"

#define EXPORT __attribute__((visibility("default")))
#define MAX_SWEEP (8 << 20)
#define LINE 64

extern void (*__TVMFFIErrorSetRaisedFromCStr)(const char *kind, const char *message);

static int8_t pristine[SHUFFLEC_TUNING_ARENA] __attribute__((aligned(64)));
static uint8_t swept[MAX_SWEEP] __attribute__((aligned(64)));
static int64_t selected, checked_bytes, sweep_bytes;
static volatile uint8_t sink;

/* tuning/case.py's function of the same name */
static uint64_t mix(uint64_t index) {
  uint64_t z = (index + 1) * 0x9E3779B97F4A7C15u;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

static void prepare(void) {
  uint8_t sum = 0;
  for (int64_t i = 0; i < sweep_bytes; i += LINE) sum += swept[i];
  sink = sum;
  memcpy(shufflec_arena, pristine, checked_bytes);
}

static int run(void) { return shufflec_run_layer((int32_t)selected, shufflec_input, NULL); }

static int integers(const char *name, const TVMFFIAny *args, int32_t count, int32_t expected) {
  char message[120];
  int good = count == expected;
  for (int32_t i = 0; good && i < count; i++) good = args[i].type_index == kTVMFFIInt;
  if (good) return 0;
  snprintf(message, sizeof(message), "%s: expected %d whole numbers", name, (int)expected);
  if (__TVMFFIErrorSetRaisedFromCStr) __TVMFFIErrorSetRaisedFromCStr("TypeError", message);
  return -1;
}

static int refuse(const char *message) {
  if (__TVMFFIErrorSetRaisedFromCStr) __TVMFFIErrorSetRaisedFromCStr("ValueError", message);
  return -1;
}

static int give(TVMFFIAny *result, int64_t value) {
  memset(result, 0, sizeof(*result));
  result->type_index = kTVMFFIInt;
  result->v_int64 = value;
  return 0;
}

#define FUNCTION(name) \
  EXPORT int __tvm_ffi_##name(void *self, const TVMFFIAny *args, int32_t count, TVMFFIAny *result)

/* select(candidate, checked bytes, sweep bytes, seed): which one the other functions work on */
FUNCTION(select) {
  (void)self;
  if (integers("select", args, count, 4)) return -1;
  int64_t candidate = args[0].v_int64, bytes = args[1].v_int64, sweep = args[2].v_int64;
  if (candidate < 0 || candidate >= shufflec_layer_count) return refuse("select: no such candidate");
  if (bytes < 0 || bytes > SHUFFLEC_TUNING_ARENA || bytes % 8) return refuse("select: the arena is smaller");
  if (sweep < 0 || sweep > MAX_SWEEP) return refuse("select: more bytes to sweep than there are");
  selected = candidate, checked_bytes = bytes, sweep_bytes = sweep;
  for (int64_t i = 0; i < bytes / 8; i++) {
    uint64_t word = mix((uint64_t)(args[3].v_int64 + i));
    memcpy(pristine + 8 * i, &word, 8);
  }
  prepare();
  return give(result, 0);
}

/* step(0) prepares, step(1) runs: for a virtual board, which times each call as if nothing ran between them */
FUNCTION(step) {
  (void)self;
  if (integers("step", args, count, 1)) return -1;
  if (args[0].v_int64 == 0) prepare();
  return args[0].v_int64 == 0 || run() == 0 ? give(result, 0) : -1;
}

/* nothing(): what a call costs */
FUNCTION(nothing) {
  (void)self;
  return integers("nothing", args, count, 0) ? -1 : give(result, 0);
}

/* repeat(times): runs the candidate, for a board that measures: warm caches, but figures that repeat */
FUNCTION(repeat) {
  (void)self;
  if (integers("repeat", args, count, 1)) return -1;
  for (int64_t i = 0; i < args[0].v_int64; i++)
    if (run() != 0) return -1;
  return give(result, 0);
}

/* digest(which): the arena's two sums after one run; 0 runs and gives the first, 1 gives the second of that run */
FUNCTION(digest) {
  static uint64_t second;
  (void)self;
  if (integers("digest", args, count, 1)) return -1;
  if (args[0].v_int64 != 0) return give(result, (int64_t)second);
  uint64_t first = 0;
  second = 0;
  memcpy(shufflec_arena, pristine, checked_bytes);
  if (run() != 0) return -1;
  for (int64_t i = 0; i < checked_bytes / 8; i++) {
    uint64_t word, place = mix((uint64_t)i);
    memcpy(&word, shufflec_arena + 8 * i, 8);
    first += word * (place | 1);
    second += (word ^ (word >> 32)) * (mix(place) | 1);
  }
  return give(result, (int64_t)first);
}

/* arena(int8 tensor of at most the arena's size): its first bytes as the last run left them */
FUNCTION(arena) {
  (void)self;
  const DLTensor *t = NULL;
  if (count == 1 && args[0].type_index == kTVMFFIDLTensorPtr) t = args[0].v_ptr;
  if (count == 1 && args[0].type_index == kTVMFFITensor) t = (const DLTensor *)(args[0].v_obj + 1);
  if (t == NULL || t->ndim != 1 || t->dtype.bits != 8 || t->shape[0] > SHUFFLEC_TUNING_ARENA)
    return refuse("arena: expected a vector of bytes that the arena has");
  memcpy((char *)t->data + t->byte_offset, shufflec_arena, t->shape[0]);
  return give(result, 0);
}
