// A module with known instruction counts: packed functions in tvm-ffi's C ABI, for the tests of the devices.
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <tvm/ffi/c_api.h>

#define PACKED(name) \
  __attribute__((visibility("default"))) int __tvm_ffi_##name(void* self, const TVMFFIAny* args, int32_t n, TVMFFIAny* ret)

PACKED(empty) { return 0; }

// Adds 1, so that a caller sees that it ran.
PACKED(add_one) {
  ret->type_index = kTVMFFIInt;
  ret->v_int64 = args[0].v_int64 + 1;
  return 0;
}

#ifdef __aarch64__

// args[0] turns of: 1 load, 1 store, 1 widening multiply, 1 other SIMD, 2 scalar, 1 branch.
PACKED(mixed) {
  static int64_t cell[2];
  int64_t turns = args[0].v_int64;
  __asm__ volatile(
      "1: ldr q0, [%1]\n smull v1.8h, v0.8b, v0.8b\n add v0.16b, v0.16b, v1.16b\n str q0, [%1]\n"
      "add x9, x9, #1\n subs %0, %0, #1\n b.ne 1b"
      : "+r"(turns)
      : "r"(cell)
      : "cc", "memory", "v0", "v1", "x9");
  return 0;
}

// args[0] turns with 1 SDOT, 1 scalar and 1 branch; traps on a core without dot products.
PACKED(dots) {
  int64_t turns = args[0].v_int64;
  __asm__ volatile(".arch_extension dotprod\n 1: sdot v0.4s, v1.16b, v2.16b\n subs %0, %0, #1\n b.ne 1b"
                   : "+r"(turns)
                   :
                   : "cc", "v0");
  return 0;
}

// Reads one byte of each of args[0] cache lines of 64 bytes, and writes it back: 1 load, 1 store, 2 scalar, 1 branch.
PACKED(sweep) {
  static char buffer[4 << 20] __attribute__((aligned(64)));
  char* at = buffer;
  char* end = buffer + 64 * args[0].v_int64;
  if (args[0].v_int64 < 0 || end > buffer + sizeof buffer) abort();
  while (at != end) {
    __asm__ volatile("ldrb w9, [%0]\n strb w9, [%0]\n add %0, %0, #64" : "+r"(at) : : "memory", "w9");
  }
  return 0;
}

// args[0] turns with an instruction that is not in the core models' table; traps on a core without it.
PACKED(strange) {
  static char cell;
  for (int64_t turn = args[0].v_int64; turn > 0; turn--) {
    __asm__ volatile(".arch_extension lse\n casb w9, w10, [%0]" : : "r"(&cell) : "memory", "w9");
  }
  return 0;
}

// tvm/runtime/c_backend_api.h
typedef struct {
  void* sync_handle;
  int32_t num_task;
} ParallelGroup;
typedef int (*ParallelTask)(int task, ParallelGroup* group, void* data);
// As in the modules that TVM compiles: the runtime that loads this library fills it in.
__attribute__((visibility("default"))) int (*__TVMBackendParallelLaunch)(ParallelTask task, void* data, int tasks);

static struct {
  int64_t turns;
  int32_t tasks;
} work;

static void multiply(int64_t turns) {
  __asm__ volatile("1: smull v1.8h, v0.8b, v0.8b\n subs %0, %0, #1\n b.ne 1b" : "+r"(turns) : : "cc", "v1");
}

static int multiply_task(int task, ParallelGroup* group, void* data) {
  if (task == 0) work.tasks = group->num_task;
  multiply(work.turns);
  return 0;
}

// Runs args[0] widening multiplies in each task of TVM's thread pool; returns the number of tasks.
PACKED(parallel) {
  work.turns = args[0].v_int64;
  int failed = __TVMBackendParallelLaunch(multiply_task, NULL, 0);
  ret->type_index = kTVMFFIInt;
  ret->v_int64 = work.tasks;
  return failed;
}

static void* multiply_thread(void* data) {
  multiply(work.turns);
  return NULL;
}

// Runs args[0] widening multiplies in a thread that TVM does not know of.
PACKED(own_thread) {
  pthread_t thread;
  work.turns = args[0].v_int64;
  return pthread_create(&thread, NULL, multiply_thread, NULL) || pthread_join(thread, NULL);
}

#endif  // __aarch64__

PACKED(crash) { abort(); }
