/* The compiled network as a TVM module: packed functions of TVM's C FFI, found by tvm.runtime.load_module and by an
 * RPC session's load_module. A wrong argument raises an error; it never crashes the server. */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <tvm/ffi/c_api.h>

#include "shufflec.h"

#define EXPORT __attribute__((visibility("default")))

/* Context symbols: the loader of a module stores the runtime's functions here, so that the library needs no link to
 * a certain libtvm_runtime. */
struct parallel_group {
  void *sync_handle;
  int32_t num_task;
};
typedef int (*parallel_lambda)(int task_id, struct parallel_group *group, void *data);
EXPORT int (*__TVMBackendParallelLaunch)(parallel_lambda lambda, void *data, int num_task);
EXPORT void (*__TVMFFIErrorSetRaisedFromCStr)(const char *kind, const char *message);

struct task {
  shufflec_task function;
  void *data;
};

static int launch_one(int task_id, struct parallel_group *group, void *data) {
  const struct task *task = data;
  return task->function(task_id, group->num_task, task->data);
}

static int parallel_for(shufflec_task function, void *data) {
  struct task task = {function, data};
  return __TVMBackendParallelLaunch(launch_one, &task, 0);
}

static shufflec_parallel_for pool(void) { return __TVMBackendParallelLaunch ? parallel_for : NULL; }

static int fail(const char *kind, const char *message) {
  if (__TVMFFIErrorSetRaisedFromCStr) __TVMFFIErrorSetRaisedFromCStr(kind, message);
  return -1;
}

static int none(TVMFFIAny *result) {
  memset(result, 0, sizeof(*result));
  result->type_index = kTVMFFINone;
  return 0;
}

static int integer(TVMFFIAny *result, int64_t value) {
  memset(result, 0, sizeof(*result));
  result->type_index = kTVMFFIInt;
  result->v_int64 = value;
  return 0;
}

static int check_count(const char *function, int32_t count, int32_t expected) {
  char message[160];
  if (count == expected) return 0;
  snprintf(message, sizeof(message), "%s: %d arguments, expected %d", function, (int)count, (int)expected);
  return fail("TypeError", message);
}

static bool is_compact(const DLTensor *t) {
  int64_t expected = 1;
  if (t->strides == NULL) return true;
  for (int i = t->ndim - 1; i >= 0; i--) {
    if (t->shape[i] != 1 && t->strides[i] != expected) return false;
    expected *= t->shape[i];
  }
  return true;
}

static const DLTensor *as_tensor(const TVMFFIAny *value) {
  if (value->type_index == kTVMFFIDLTensorPtr) return value->v_ptr;
  /* c_api.h: a tensor object is { TVMFFIObject, DLTensor, ... } */
  if (value->type_index == kTVMFFITensor) return (const DLTensor *)(value->v_obj + 1);
  return NULL;
}

/* A dense CPU tensor of `type` with `bits` and of this shape; ndim 0: of `shape[0]` values in any shape.
 * Returns its data, or NULL after raising an error that says what was expected. */
static char *check_tensor(const char *function, const TVMFFIAny *value, int type, int bits, int ndim,
                          const int64_t *shape) {
  const DLTensor *t = as_tensor(value);
  char message[240];
  const char *name = type == kDLFloat ? "float" : "int";
  bool good = t != NULL && t->data != NULL && t->device.device_type == kDLCPU && t->dtype.code == type &&
              t->dtype.bits == bits && t->dtype.lanes == 1 && is_compact(t);
  if (good && ndim > 0) {
    good = t->ndim == ndim;
    for (int i = 0; good && i < ndim; i++) good = t->shape[i] == shape[i];
  } else if (good) {
    int64_t count = 1;
    for (int i = 0; i < t->ndim; i++) count *= t->shape[i];
    good = count == shape[0];
  }
  if (good) return (char *)t->data + t->byte_offset;
  int used = snprintf(message, sizeof(message), "%s: expected a dense %s%d CPU tensor of ", function, name, bits);
  if (ndim == 0) {
    snprintf(message + used, sizeof(message) - used, "%lld values", (long long)shape[0]);
  } else {
    used += snprintf(message + used, sizeof(message) - used, "shape (");
    for (int i = 0; i < ndim; i++)
      used += snprintf(message + used, sizeof(message) - used, i ? ", %lld" : "%lld", (long long)shape[i]);
    snprintf(message + used, sizeof(message) - used, ")");
  }
  fail(t == NULL ? "TypeError" : "ValueError", message);
  return NULL;
}

static const float *check_input(const char *function, const TVMFFIAny *value) {
  return (const float *)check_tensor(function, value, kDLFloat, 32, 4, shufflec_input_shape);
}

static float *check_output(const char *function, const TVMFFIAny *value) {
  return (float *)check_tensor(function, value, kDLFloat, 32, 2, shufflec_output_shape);
}

static int check_layer(const char *function, const TVMFFIAny *value, int32_t *layer) {
  char message[160];
  if (value->type_index != kTVMFFIInt || value->v_int64 < 0 || value->v_int64 >= shufflec_layer_count) {
    snprintf(message, sizeof(message), "%s: expected a layer index from 0 to %d", function,
             (int)shufflec_layer_count - 1);
    return fail(value->type_index == kTVMFFIInt ? "ValueError" : "TypeError", message);
  }
  *layer = (int32_t)value->v_int64;
  return 0;
}

#define FUNCTION(name) \
  EXPORT int __tvm_ffi_##name(void *self, const TVMFFIAny *args, int32_t count, TVMFFIAny *result)

/* run(input float32 (1, 3, H, W), output float32 (1, classes)) */
FUNCTION(run) {
  (void)self;
  if (check_count("run", count, 2)) return -1;
  const float *input = check_input("run: input", &args[0]);
  float *output = input ? check_output("run: output", &args[1]) : NULL;
  if (output == NULL) return -1;
  if ((uintptr_t)input % 64 != 0) {
    memcpy(shufflec_input, input, shufflec_input_bytes);
    input = shufflec_input;
  }
  if (shufflec_run(input, pool()) != 0) return fail("RuntimeError", "run: the thread pool failed");
  memcpy(output, shufflec_output, shufflec_output_bytes);
  return none(result);
}

/* set_input(input): the input of the following calls of layer */
FUNCTION(set_input) {
  (void)self;
  if (check_count("set_input", count, 1)) return -1;
  const float *input = check_input("set_input", &args[0]);
  if (input == NULL) return -1;
  memcpy(shufflec_input, input, shufflec_input_bytes);
  return none(result);
}

/* layer(index): runs one layer; repeating it gives the same result */
FUNCTION(layer) {
  int32_t layer;
  (void)self;
  if (check_count("layer", count, 1) || check_layer("layer", &args[0], &layer)) return -1;
  if (shufflec_run_layer(layer, shufflec_input, pool()) != 0) return fail("RuntimeError", "layer: the thread pool failed");
  return none(result);
}

/* get_output(output): the logits of the last run */
FUNCTION(get_output) {
  (void)self;
  if (check_count("get_output", count, 1)) return -1;
  float *output = check_output("get_output", &args[0]);
  if (output == NULL) return -1;
  memcpy(output, shufflec_output, shufflec_output_bytes);
  return none(result);
}

/* read_tensor(index, out): a layer's output, dense NHWC, right after that layer ran */
FUNCTION(read_tensor) {
  int32_t layer;
  (void)self;
  if (check_count("read_tensor", count, 2) || check_layer("read_tensor", &args[0], &layer)) return -1;
  const struct shufflec_layer *l = &shufflec_layers[layer];
  int64_t values = (int64_t)l->height * l->width * l->channels;
  char *out = check_tensor("read_tensor: out", &args[1], l->is_float ? kDLFloat : kDLInt, 8 * l->item_bytes, 0, &values);
  if (out == NULL) return -1;
  shufflec_read_layer(layer, out);
  return none(result);
}

/* layer_count() */
FUNCTION(layer_count) {
  (void)self;
  (void)args;
  if (check_count("layer_count", count, 0)) return -1;
  return integer(result, shufflec_layer_count);
}

/* threads(): threads of the pool that steps are spread over */
FUNCTION(threads) {
  (void)self;
  (void)args;
  if (check_count("threads", count, 0)) return -1;
  return integer(result, shufflec_threads(pool()));
}
