// Time computed from instructions that the emulator counted, in the place of the CPU timer of TVM's runtime.
#ifndef SHUFFLEC_SIMULATED_TIMER_H_
#define SHUFFLEC_SIMULATED_TIMER_H_

#include <array>
#include <functional>
#include <string>

#include "../common/counters.h"

namespace shufflec {

// What one instruction of each class costs on the simulated core.
struct CoreCost {
  double clock_hz = 0;
  std::array<double, SHUFFLEC_CLASSES> cycles{};

  // "load=1,store=1,...": every class once. Throws std::invalid_argument that names what is wrong.
  static CoreCost Parse(double clock_hz, const std::string& cycles);
};

// Maps the counters file and answers whether a counting emulator is there.
bool OpenCounters(const char* path);

// Overrides `runtime.timer.cpu` (so time_evaluator reports simulated time) and adds `shufflec.time_each`, which times calls
// that follow each other (a module, the name of a function of one number, that of one that does nothing, how many), and
// `shufflec.follow_caches`, which tells the emulator whether to follow the caches outside of timed regions, and
// `shufflec.counters`, which returns the last timed region as JSON: instructions by class over all threads, their sum, the
// simulated nanoseconds, and the parts of the estimate where the emulator has a clock. Without a clock the busiest
// thread's instructions at `cost` decide.
void RegisterSimulatedTimer(const CoreCost& cost);

// Tells the emulator that this process serves a client from here on. `end` is called with one line, and must not
// return, when the emulator cannot tell the time of a region.
void StartSimulatedSession(std::function<void(const std::string&)> end);

}  // namespace shufflec

#endif  // SHUFFLEC_SIMULATED_TIMER_H_
