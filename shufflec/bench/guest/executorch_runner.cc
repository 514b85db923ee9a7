/* A C interface to ExecuTorch's runtime, for ctypes: its own Python module needs PyTorch, whose arm64 package needs
 * gigabytes of CUDA libraries. Linked with the libraries of the arm64 wheel; only calls that pass no C++ library type, so
 * that this may be built with another C++ library than they were. */
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include <executorch/extension/data_loader/buffer_data_loader.h>
#include <executorch/runtime/core/hierarchical_allocator.h>
#include <executorch/runtime/core/memory_allocator.h>
#include <executorch/runtime/executor/method.h>
#include <executorch/runtime/executor/program.h>
#include <executorch/runtime/platform/runtime.h>

namespace executorch::extension::threadpool {  // the wheel has the library but not the header
class ThreadPool {
 public:
  bool _unsafe_reset_threadpool(uint32_t threads);
};
ThreadPool *get_threadpool();
}  // namespace executorch::extension::threadpool

using namespace executorch::runtime;

namespace {
constexpr uint32_t kRoom = 64 << 20;
Method *method;  // one model a process, which lives as long as the process

int failed(int step, Error error) { return 100 * step + static_cast<int>(error); }
}  // namespace

/* Loads a .pte file's content, which has to stay. 0, or the step that failed times 100 plus ExecuTorch's error. */
extern "C" int engine_open(const void *data, size_t size) {
  runtime_init();
  if (auto *pool = executorch::extension::threadpool::get_threadpool()) pool->_unsafe_reset_threadpool(1);
  auto program = Program::load(new executorch::extension::BufferDataLoader(data, size));
  if (!program.ok()) return failed(1, program.error());
  auto *kept = new Program(std::move(program.get()));
  auto meta = kept->method_meta("forward");
  if (!meta.ok()) return failed(2, meta.error());
  size_t count = meta->num_memory_planned_buffers();
  auto *spans = new Span<uint8_t>[count];
  for (size_t i = 0; i < count; i++) {
    auto bytes = static_cast<size_t>(meta->memory_planned_buffer_size(i).get());
    spans[i] = {static_cast<uint8_t *>(aligned_alloc(64, (bytes + 63) / 64 * 64)), bytes};
  }
  auto *planned = new HierarchicalAllocator({spans, count});
  auto *fixed = new MemoryAllocator(kRoom, static_cast<uint8_t *>(malloc(kRoom)));
  auto *temporary = new MemoryAllocator(kRoom, static_cast<uint8_t *>(malloc(kRoom)));
  auto loaded = kept->load_method("forward", new MemoryManager(fixed, planned, temporary));
  if (!loaded.ok()) return failed(3, loaded.error());
  method = new Method(std::move(loaded.get()));
  return 0;
}

/* One inference: float32 NCHW of `shape` in, `outputs` float32 out. 0, or as engine_open. */
extern "C" int engine_run(float *input, const int32_t *shape, float *output, size_t outputs) {
  using namespace executorch::aten;
  SizesType sizes[4];
  DimOrderType order[4] = {0, 1, 2, 3};
  StridesType strides[4];
  StridesType step = 1;
  for (int i = 3; i >= 0; i--) {
    sizes[i] = shape[i];
    strides[i] = step;
    step *= shape[i];
  }
  TensorImpl image(ScalarType::Float, 4, sizes, input, order, strides);
  Error error = method->set_input(EValue(Tensor(&image)), 0);
  if (error != Error::Ok) return failed(4, error);
  error = method->execute();
  if (error != Error::Ok) return failed(5, error);
  Tensor result = method->get_output(0).toTensor();
  if (static_cast<size_t>(result.numel()) != outputs) return failed(6, Error::Ok);
  memcpy(output, result.const_data_ptr<float>(), outputs * sizeof(float));
  return 0;
}
