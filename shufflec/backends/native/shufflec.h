/* The tables of a compiled network and the functions that run it. The generated program.c fills the tables,
 * runtime.c runs them, tvm_module.c offers them to TVM. */
#ifndef SHUFFLEC_H
#define SHUFFLEC_H

#include <stdint.h>

/* The interface of every kernel (kernels/kernel.py): tiles begin..end-1, offsets in bytes into the arena. */
typedef int32_t (*shufflec_kernel)(int8_t *arena, const int8_t *weights, const int16_t *requant,
                                   const int32_t *accumulators, int32_t in0, int32_t in1, int32_t out,
                                   int32_t scratch, int32_t begin, int32_t end);

enum shufflec_boundary { SHUFFLEC_INNER = 0, SHUFFLEC_READS_INPUT = 1, SHUFFLEC_WRITES_OUTPUT = 2 };

/* One kernel call. weights, requant, accumulators: byte offsets into the constants. A step at the boundary takes the
 * network's input as its weights, or its output as its accumulators. */
struct shufflec_step {
  shufflec_kernel kernel;
  uint32_t weights, requant, accumulators;
  int32_t in0, in1, out, scratch, scratch_bytes, tiles, boundary;
};

/* Steps first..last-1 are one layer. Its output: height x width x channels values of item_bytes each, from byte
 * `out` of the arena, `pitch` bytes from a pixel to the next, `row` pixels from a row to the next. The last layer's
 * output (out = -1) is the network's. */
struct shufflec_layer {
  int32_t first, last, out, height, width, channels, pitch, row, item_bytes, is_float;
};

extern const struct shufflec_step shufflec_steps[];
extern const struct shufflec_layer shufflec_layers[];
extern const int32_t shufflec_layer_count;
extern const int32_t shufflec_max_tasks;
extern const int64_t shufflec_input_shape[4]; /* 1, channels, height, width: float32 */
extern const int64_t shufflec_output_shape[2]; /* 1, classes: float32 */
extern const int64_t shufflec_input_bytes, shufflec_output_bytes, shufflec_arena_bytes;
extern const int8_t shufflec_constants[];
extern int8_t shufflec_arena[];
extern float shufflec_input[];  /* for calls layer by layer, and for inputs that are not aligned */
extern float shufflec_output[];

/* Starts `task` on every thread of a pool; each call gets its index and the number of calls. NULL: no pool. */
typedef int (*shufflec_task)(int index, int count, void *data);
typedef int (*shufflec_parallel_for)(shufflec_task task, void *data);

/* Threads of the pool, 1 without one. Found by one launch at the first call. */
int shufflec_threads(shufflec_parallel_for parallel_for);
/* Runs one layer; input as for shufflec_run. 0, or -1 when the pool failed. */
int shufflec_run_layer(int32_t layer, const float *input, shufflec_parallel_for parallel_for);
/* Runs the network from `input` (64-byte aligned) into shufflec_output. 0, or -1 when the pool failed. */
int shufflec_run(const float *input, shufflec_parallel_for parallel_for);
/* Copies a layer's output out of the arena, dense. */
void shufflec_read_layer(int32_t layer, void *destination);

#endif
