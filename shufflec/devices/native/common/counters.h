/* What the TCG plugin (in qemu, on the host) and the RPC server (in the emulated guest) agree on.
 *
 * The plugin writes its counters into a small file that both sides map shared; the guest asks for that with a
 * system call number that Linux does not use on AArch64. So no guest pointer is ever dereferenced by the plugin, and
 * the same server runs on a real board, where the call fails with ENOSYS and nothing is simulated.
 */
#ifndef SHUFFLEC_COUNTERS_H_
#define SHUFFLEC_COUNTERS_H_

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Instruction classes, in the order of every table below and of `INSTRUCTION_CLASSES` in shufflec/targets/target.py. */
enum ShufflecClass {
  SHUFFLEC_LOAD,    /* every load, pair and structure loads count once; prefetches and read-modify-write atomics too */
  SHUFFLEC_STORE,   /* every store */
  SHUFFLEC_BRANCH,  /* taken or not */
  SHUFFLEC_WIDENING_MULTIPLY, /* SIMD: [SU]MULL, [SU]MLAL, [SU]MLSL, SQDMULL, SQDML[AS]L, PMULL */
  SHUFFLEC_DOT,     /* SDOT, UDOT, USDOT, SUDOT and the int8 matrix products SMMLA, UMMLA, USMMLA */
  SHUFFLEC_SIMD,    /* every other SIMD or floating-point instruction */
  SHUFFLEC_SCALAR,  /* everything else: integer arithmetic, address computation, system instructions */
  SHUFFLEC_CLASSES
};

#define SHUFFLEC_CLASS_NAMES {"load", "store", "branch", "widening_multiply", "dot", "simd", "scalar"}

/* The reserved system call: syscall(SHUFFLEC_SYSCALL, operation). Regions do not nest. */
#define SHUFFLEC_SYSCALL 0x5346
enum ShufflecOperation {
  SHUFFLEC_REGION_START = 1, /* counting starts after this call */
  SHUFFLEC_REGION_STOP = 2,  /* counting stops with this call; ShufflecCounters is written */
  SHUFFLEC_SESSION_START = 3, /* this process serves a client: its caches are followed from here on, empty at first */
  SHUFFLEC_CACHES_PAUSE = 4,  /* outside of regions the caches are not followed, */
  SHUFFLEC_CACHES_RESUME = 5, /* until here: for regions that follow each other on the board */
  SHUFFLEC_PARALLEL_START = 6, /* what follows runs side by side on the board, each thread after its */
  SHUFFLEC_THREAD = 7,         /* syscall(SHUFFLEC_SYSCALL, SHUFFLEC_THREAD, number of the thread, from 0), */
  SHUFFLEC_PARALLEL_STOP = 8,  /* until here; then thread 0 runs alone. */
};

#define SHUFFLEC_MAX_THREADS 16
#define SHUFFLEC_COUNTERS_MAGIC UINT64_C(0x33746e6366756873) /* "shufcnt3"; its last digit is the layout's version */
#define SHUFFLEC_PROBLEM_BYTES 200

/* Time of a region by the core model and the caches, where the emulator was started with a clock. */
enum ShufflecEstimateState {
  SHUFFLEC_NOT_ESTIMATED, /* no clock: time is instructions at their class's cycles */
  SHUFFLEC_ESTIMATED,
  SHUFFLEC_ESTIMATE_FAILED, /* `problem` says why; there is no time for this region */
};

/* What the core waited for, in the order of ShufflecEstimate.waits_ns and of `Waits` in shufflec/timing/waits.py. */
#define SHUFFLEC_WAITS 8
#define SHUFFLEC_WAIT_NAMES \
  {"dispatch", "latency", "simd_port", "load_port", "store_port", "load_store_port", "integer_port", "branch_port"}

struct ShufflecEstimate {
  uint64_t state;
  double compute_ns, load_miss_ns, store_miss_ns, dram_ns; /* the parts of the region's time; they add up to it */
  uint64_t l1_load_misses, l1_store_misses;  /* accesses, over all threads */
  uint64_t dram_lines;                       /* lines filled from memory, and dirty ones written to it */
  double waits_ns[SHUFFLEC_WAITS];           /* compute_ns by what the core waited for */
  char problem[SHUFFLEC_PROBLEM_BYTES];      /* one line, ends with a zero */
};

struct ShufflecCounters {
  uint64_t magic;
  uint64_t regions; /* closed so far */
  uint64_t exact;   /* 0 when more threads ran than counters were made for */
  uint64_t instructions[SHUFFLEC_MAX_THREADS][SHUFFLEC_CLASSES]; /* executed in the last region, by thread and class */
  struct ShufflecEstimate estimate; /* of the last region */
};

#ifdef __cplusplus
}
#endif

#endif /* SHUFFLEC_COUNTERS_H_ */
