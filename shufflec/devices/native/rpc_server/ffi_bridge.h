// Calls between this program and TVM's runtime, through the C interface of tvm-ffi only.
//
// The C++ conveniences (ffi::Function::FromTyped, ::operator()) let exceptions pass straight between the two. This
// program may be linked with another C++ library (zig's libc++) than the runtime (libstdc++), and neither catches the
// other's exceptions: the process would abort. Here every error crosses as an error code and an error object.
#ifndef SHUFFLEC_FFI_BRIDGE_H_
#define SHUFFLEC_FFI_BRIDGE_H_

#include <tvm/ffi/any.h>

#include <functional>
#include <initializer_list>
#include <string>
#include <vector>

namespace shufflec {

using Callback = std::function<tvm::ffi::Any(const std::vector<tvm::ffi::AnyView>& arguments)>;

// Makes `callback` the global packed function `name`, in the place of an older one. It is called with exactly
// `argument_count` arguments; a std::exception that it throws reaches the caller as an error.
void RegisterGlobal(const std::string& name, size_t argument_count, Callback callback);

// Calls a global packed function. Throws std::runtime_error with the message of the callee.
tvm::ffi::Any CallGlobal(const std::string& name, std::initializer_list<tvm::ffi::AnyView> arguments);

// A packed function of a module. Throws std::runtime_error when the module has none of that name.
class ModuleFunction {
 public:
  ModuleFunction(tvm::ffi::AnyView module, const std::string& name);

  // Calls it and returns whether it succeeded; throws nothing and takes few instructions, so that it can be timed.
  bool Call(const tvm::ffi::AnyView* arguments, int count) const;

  // Throws what the last failed call raised, as std::runtime_error.
  [[noreturn]] static void ThrowFailure();

 private:
  tvm::ffi::Any function_;
};

}  // namespace shufflec

#endif  // SHUFFLEC_FFI_BRIDGE_H_
