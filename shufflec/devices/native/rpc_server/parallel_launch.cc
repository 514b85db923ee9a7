#include "parallel_launch.h"

#include <sys/syscall.h>
#include <tvm/ffi/c_api.h>
#include <tvm/ffi/extra/c_env_api.h>
#include <tvm/runtime/c_backend_api.h>
#include <unistd.h>

#include <algorithm>
#include <stdexcept>
#include <string>

#include "../common/counters.h"
#include "ffi_bridge.h"

namespace ffi = tvm::ffi;

namespace shufflec {
namespace {

int threads_most = 1, threads_used = 1;
bool launched = false;

// As TVM's ThreadPool::Launch: 0 tasks are as many as there are threads, and a task launches none of its own.
int Launch(FTVMParallelLambda task, void* data, int count) {
  if (count == 0) count = threads_used;
  if (launched || count < 1 || count > threads_used) {
    TVMFFIErrorSetRaisedFromCStr("RuntimeError", "a parallel loop inside a parallel loop, or of more tasks than threads");
    return -1;
  }
  TVMParallelGroupEnv group{nullptr, count};
  if (count == 1) return task(0, &group, data);
  launched = true;
  int failed = 0;
  syscall(SHUFFLEC_SYSCALL, SHUFFLEC_PARALLEL_START);
  for (int i = 0; i < count && !failed; i++) {
    syscall(SHUFFLEC_SYSCALL, SHUFFLEC_THREAD, i);
    failed = task(i, &group, data);
  }
  syscall(SHUFFLEC_SYSCALL, SHUFFLEC_PARALLEL_STOP);
  launched = false;
  return failed;
}

int Barrier(int, TVMParallelGroupEnv*) {
  TVMFFIErrorSetRaisedFromCStr("RuntimeError", "a barrier inside a parallel loop: the virtual board has none");
  return -1;
}

void Override(const char* name, void* symbol) {
  if (TVMFFIEnvModRegisterContextSymbol(name, symbol) != 0) throw std::runtime_error(std::string("TVM's runtime takes no ") + name);
}

}  // namespace

void RegisterParallelLaunch(int threads) {
  threads_most = threads_used = threads;
  Override("__TVMBackendParallelLaunch", reinterpret_cast<void*>(Launch));
  Override("__TVMBackendParallelBarrier", reinterpret_cast<void*>(Barrier));
  RegisterGlobal("runtime.NumThreads", 0, [](const auto&) { return ffi::Any(static_cast<int64_t>(threads_used)); });
  // (which cores first, how many threads)
  RegisterGlobal("runtime.config_threadpool", 2, [](const auto& arguments) {
    int64_t wanted = arguments[1].template cast<int64_t>();
    threads_used = wanted < 1 ? threads_most : static_cast<int>(std::min<int64_t>(wanted, threads_most));
    return ffi::Any();
  });
}

}  // namespace shufflec
