#include "simulated_timer.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <tvm/ffi/device.h>
#include <tvm/ffi/dtype.h>
#include <tvm/ffi/memory.h>
#include <tvm/ffi/string.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <iomanip>
#include <sstream>
#include <stdexcept>
#include <utility>

#include "ffi_bridge.h"

namespace ffi = tvm::ffi;

// tvm/runtime/timer.h cannot be included: it needs tvm/support/io.h, which TVM's wheel does not ship. These two classes
// repeat its declarations; the order of the virtual functions is the interface.
namespace tvm {
namespace runtime {

class TimerNode : public ffi::Object {
 public:
  virtual void Start() = 0;
  virtual void Stop() = 0;
  virtual int64_t SyncAndGetElapsedNanos() = 0;
  virtual ~TimerNode() {}
  static constexpr const bool _type_mutable = true;
  TVM_FFI_DECLARE_OBJECT_INFO("runtime.TimerNode", TimerNode, ffi::Object);
};

class Timer : public ffi::ObjectRef {
 public:
  TVM_FFI_DEFINE_OBJECT_REF_METHODS_NULLABLE(Timer, ffi::ObjectRef, TimerNode);
};

}  // namespace runtime
}  // namespace tvm

namespace shufflec {
namespace {

const char* const kClassNames[SHUFFLEC_CLASSES] = SHUFFLEC_CLASS_NAMES;
const char* const kWaitNames[SHUFFLEC_WAITS] = SHUFFLEC_WAIT_NAMES;

const ShufflecCounters* counters = nullptr;
CoreCost core_cost;
ShufflecCounters last_region{};
std::function<void(const std::string&)> end_session;

// By the emulator's clock where there is one. Without, threads run side by side on cores of their own, so the busiest
// one decides.
double Nanoseconds(const ShufflecCounters& region) {
  const ShufflecEstimate& estimate = region.estimate;
  if (estimate.state == SHUFFLEC_ESTIMATED) {
    return estimate.compute_ns + estimate.load_miss_ns + estimate.store_miss_ns + estimate.dram_ns;
  }
  double longest = 0;
  for (const auto& thread : region.instructions) {
    double cycles = 0;
    for (int c = 0; c < SHUFFLEC_CLASSES; c++) cycles += core_cost.cycles[c] * static_cast<double>(thread[c]);
    longest = std::max(longest, cycles);
  }
  return longest * 1e9 / core_cost.clock_hz;
}

// The region that just ended. Does not return when there is no time to report: the runtime that asks for it has no place
// for an error.
const ShufflecCounters& TakeRegion() {
  last_region = *counters;
  if (last_region.estimate.state == SHUFFLEC_ESTIMATE_FAILED) end_session(last_region.estimate.problem);
  return last_region;
}

class SimulatedTimerNode final : public tvm::runtime::TimerNode {
 public:
  void Start() final { syscall(SHUFFLEC_SYSCALL, SHUFFLEC_REGION_START); }
  void Stop() final {
    syscall(SHUFFLEC_SYSCALL, SHUFFLEC_REGION_STOP);
    region_ = TakeRegion();
  }
  int64_t SyncAndGetElapsedNanos() final { return std::llround(Nanoseconds(region_)); }
  TVM_FFI_DECLARE_OBJECT_INFO_FINAL("shufflec.SimulatedTimer", SimulatedTimerNode, tvm::runtime::TimerNode);

 private:
  ShufflecCounters region_{};
};

std::string EstimateJson(const ShufflecEstimate& estimate) {
  if (estimate.state != SHUFFLEC_ESTIMATED) return "null";
  std::ostringstream json;
  json << std::fixed << std::setprecision(3) << "{\"compute_ns\": " << estimate.compute_ns
       << ", \"load_miss_ns\": " << estimate.load_miss_ns << ", \"store_miss_ns\": " << estimate.store_miss_ns << ", \"dram_ns\": " << estimate.dram_ns
       << ", \"l1_load_misses\": " << estimate.l1_load_misses << ", \"l1_store_misses\": " << estimate.l1_store_misses
       << ", \"dram_lines\": " << estimate.dram_lines << ", \"waits\": {";
  for (int w = 0; w < SHUFFLEC_WAITS; w++) {
    json << (w ? ", " : "") << '"' << kWaitNames[w] << "\": " << estimate.waits_ns[w];
  }
  json << "}}";
  return json.str();
}

std::string RegionJson(const ShufflecCounters& region) {
  std::ostringstream json;
  uint64_t total = 0;
  json << "{\"instructions\": {";
  for (int c = 0; c < SHUFFLEC_CLASSES; c++) {
    uint64_t executed = 0;
    for (const auto& thread : region.instructions) executed += thread[c];
    total += executed;
    json << (c ? ", " : "") << '"' << kClassNames[c] << "\": " << executed;
  }
  json << "}, \"total\": " << total << ", \"simulated_ns\": " << std::llround(Nanoseconds(region))
       << ", \"regions\": " << region.regions << ", \"exact\": " << (region.exact ? "true" : "false")
       << ", \"estimate\": " << EstimateJson(region.estimate) << "}";
  return json.str();
}

ShufflecCounters TimeOnce(const ModuleFunction& function, const ffi::AnyView* arguments, int count) {
  syscall(SHUFFLEC_SYSCALL, SHUFFLEC_REGION_START);
  bool good = function.Call(arguments, count);
  syscall(SHUFFLEC_SYSCALL, SHUFFLEC_REGION_STOP);
  if (!good) ModuleFunction::ThrowFailure();
  return TakeRegion();
}

// Calls function(0), function(1), ... function(count - 1) of a module twice, and times each call of the second round
// as if nothing ran between them: what a call finds in the caches is what the calls before it left there. The first
// region is that of a call that does nothing.
std::string TimeEach(ffi::AnyView module, const std::string& name, const std::string& empty, int64_t count) {
  ModuleFunction function(module, name), nothing(module, empty);
  for (int64_t i = 0; i < count; i++) {
    ffi::AnyView index(i);
    if (!function.Call(&index, 1)) ModuleFunction::ThrowFailure();
  }
  struct Pause {
    Pause() { syscall(SHUFFLEC_SYSCALL, SHUFFLEC_CACHES_PAUSE); }
    ~Pause() { syscall(SHUFFLEC_SYSCALL, SHUFFLEC_CACHES_RESUME); }
  } pause;
  TimeOnce(nothing, nullptr, 0);  // the second one finds its own lines in the caches, as each layer finds the call's
  std::string json = "[" + RegionJson(TimeOnce(nothing, nullptr, 0));
  for (int64_t i = 0; i < count; i++) {
    ffi::AnyView index(i);
    json += ", " + RegionJson(TimeOnce(function, &index, 1));
  }
  return json + "]";
}

}  // namespace

CoreCost CoreCost::Parse(double clock_hz, const std::string& cycles) {
  if (!(clock_hz > 0)) throw std::invalid_argument("--clock-hz must be greater than 0");
  CoreCost cost;
  cost.clock_hz = clock_hz;
  std::array<bool, SHUFFLEC_CLASSES> given{};
  std::istringstream list(cycles);
  for (std::string item; std::getline(list, item, ',');) {
    size_t equals = item.find('=');
    int found = -1;
    for (int c = 0; c < SHUFFLEC_CLASSES; c++) {
      if (item.substr(0, equals) == kClassNames[c]) found = c;
    }
    if (equals == std::string::npos || found < 0 || given[found]) {
      throw std::invalid_argument("--cycles: cannot use '" + item + "'");
    }
    cost.cycles[found] = std::stod(item.substr(equals + 1));
    given[found] = true;
  }
  for (int c = 0; c < SHUFFLEC_CLASSES; c++) {
    if (!given[c]) throw std::invalid_argument(std::string("--cycles: no value for ") + kClassNames[c]);
  }
  return cost;
}

bool OpenCounters(const char* path) {
  int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return false;
  void* mapped = mmap(nullptr, sizeof(ShufflecCounters), PROT_READ, MAP_SHARED, file, 0);
  close(file);
  if (mapped == MAP_FAILED) return false;
  counters = static_cast<const ShufflecCounters*>(mapped);
  if (counters->magic != SHUFFLEC_COUNTERS_MAGIC) return false;
  uint64_t before = counters->regions;
  syscall(SHUFFLEC_SYSCALL, SHUFFLEC_REGION_START);
  syscall(SHUFFLEC_SYSCALL, SHUFFLEC_REGION_STOP);
  return counters->regions == before + 1;  // somebody counts
}

void StartSimulatedSession(std::function<void(const std::string&)> end) {
  end_session = std::move(end);
  syscall(SHUFFLEC_SYSCALL, SHUFFLEC_SESSION_START);
}

void RegisterSimulatedTimer(const CoreCost& cost) {
  core_cost = cost;
  RegisterGlobal("runtime.timer.cpu", 1, [](const auto&) {
    return ffi::Any(tvm::runtime::Timer(ffi::make_object<SimulatedTimerNode>()));
  });
  RegisterGlobal("shufflec.time_each", 4, [](const auto& arguments) {
    return ffi::Any(ffi::String(TimeEach(arguments[0], arguments[1].template cast<ffi::String>(),
                                         arguments[2].template cast<ffi::String>(), arguments[3].template cast<int64_t>())));
  });
  RegisterGlobal("shufflec.follow_caches", 1, [](const auto& arguments) {
    bool follow = arguments[0].template cast<bool>();
    syscall(SHUFFLEC_SYSCALL, follow ? SHUFFLEC_CACHES_RESUME : SHUFFLEC_CACHES_PAUSE);
    return ffi::Any();
  });
  RegisterGlobal("shufflec.counters", 0, [](const auto&) { return ffi::Any(ffi::String(RegionJson(last_region))); });
}

}  // namespace shufflec
