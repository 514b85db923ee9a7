// The virtual board's threads: TVM's parallel loops, one thread after the other.
#ifndef SHUFFLEC_PARALLEL_LAUNCH_H_
#define SHUFFLEC_PARALLEL_LAUNCH_H_

namespace shufflec {

// Takes the place of TVM's thread pool in every module that is loaded from here on. A loop's tasks run one after the other
// in the calling thread, each announced to the emulator as a thread of the board, which puts them side by side again. So
// nothing depends on how this machine schedules threads, and no thread is counted while it waits for another. Overrides
// `runtime.NumThreads` and `runtime.config_threadpool`; a session may use `threads` at most.
void RegisterParallelLaunch(int threads);

}  // namespace shufflec

#endif  // SHUFFLEC_PARALLEL_LAUNCH_H_
