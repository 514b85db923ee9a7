/* Runs the step table: no allocation, no interpreter state, results independent of the number of threads. */
#include "shufflec.h"

#include <stddef.h>
#include <string.h>

struct call {
  const struct shufflec_step *step;
  const int8_t *weights;
  const int32_t *accumulators;
};

static void run_tiles(const struct call *call, int task, int32_t begin, int32_t end) {
  const struct shufflec_step *s = call->step;
  s->kernel(shufflec_arena, call->weights, (const int16_t *)(shufflec_constants + s->requant), call->accumulators,
            s->in0, s->in1, s->out, s->scratch + task * s->scratch_bytes, begin, end);
}

/* The pool may offer more threads than there are tiles or scratch regions: the rest return at once. */
static int run_task(int index, int count, void *data) {
  const struct call *call = data;
  int32_t tiles = call->step->tiles;
  if (count > shufflec_max_tasks) count = shufflec_max_tasks;
  if (count > tiles) count = tiles;
  if (index >= count) return 0;
  run_tiles(call, index, (int32_t)((int64_t)tiles * index / count), (int32_t)((int64_t)tiles * (index + 1) / count));
  return 0;
}

static int count_threads(int index, int count, void *data) {
  if (index == 0) *(int *)data = count;
  return 0;
}

int shufflec_threads(shufflec_parallel_for parallel_for) {
  static int threads;
  if (parallel_for == NULL) return 1;
  if (threads == 0 && parallel_for(count_threads, &threads) != 0) threads = 0;
  return threads > 1 ? threads : 1;
}

static int run_step(const struct shufflec_step *s, const float *input, shufflec_parallel_for parallel_for) {
  struct call call = {s, shufflec_constants + s->weights, (const int32_t *)(shufflec_constants + s->accumulators)};
  if (s->boundary == SHUFFLEC_READS_INPUT) call.weights = (const int8_t *)input;
  if (s->boundary == SHUFFLEC_WRITES_OUTPUT) call.accumulators = (const int32_t *)shufflec_output;
  if (s->tiles == 1 || shufflec_threads(parallel_for) == 1) {
    run_tiles(&call, 0, 0, s->tiles);
    return 0;
  }
  return parallel_for(run_task, &call);
}

int shufflec_run_layer(int32_t layer, const float *input, shufflec_parallel_for parallel_for) {
  for (int32_t i = shufflec_layers[layer].first; i < shufflec_layers[layer].last; i++)
    if (run_step(&shufflec_steps[i], input, parallel_for) != 0) return -1;
  return 0;
}

int shufflec_run(const float *input, shufflec_parallel_for parallel_for) {
  for (int32_t i = 0; i < shufflec_layer_count; i++)
    if (shufflec_run_layer(i, input, parallel_for) != 0) return -1;
  return 0;
}

void shufflec_read_layer(int32_t layer, void *destination) {
  const struct shufflec_layer *l = &shufflec_layers[layer];
  size_t pixel = (size_t)l->channels * l->item_bytes;
  char *to = destination;
  if (l->out < 0) {
    memcpy(to, shufflec_output, pixel);
    return;
  }
  for (int32_t y = 0; y < l->height; y++)
    for (int32_t x = 0; x < l->width; x++, to += pixel)
      memcpy(to, shufflec_arena + l->out + ((size_t)y * l->row + x) * l->pitch, pixel);
}
