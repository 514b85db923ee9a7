#include "ffi_bridge.h"

#include <tvm/ffi/c_api.h>
#include <tvm/ffi/error.h>

#include <exception>
#include <memory>
#include <stdexcept>
#include <utility>

namespace ffi = tvm::ffi;

namespace shufflec {
namespace {

struct Registered {
  std::string name;
  size_t argument_count;
  Callback callback;
};

TVMFFIByteArray Bytes(const std::string& text) { return TVMFFIByteArray{text.data(), text.size()}; }

[[noreturn]] void ThrowRaised() {
  TVMFFIObjectHandle raised = nullptr;
  TVMFFIErrorMoveFromRaised(&raised);
  if (!raised) throw std::runtime_error("an error without a message");
  TVMFFIErrorCell* cell = TVMFFIErrorGetCellPtr(raised);
  std::string message(cell->message.data, cell->message.size);
  TVMFFIObjectDecRef(raised);
  throw std::runtime_error(message);
}

void Check(int code) {
  if (code != 0) ThrowRaised();
}

int CallRegistered(void* self, const TVMFFIAny* arguments, int32_t count, TVMFFIAny* result) {
  const Registered& function = *static_cast<Registered*>(self);
  try {
    if (static_cast<size_t>(count) != function.argument_count) {
      throw std::invalid_argument(function.name + " takes " + std::to_string(function.argument_count) + " arguments");
    }
    const auto* first = reinterpret_cast<const ffi::AnyView*>(arguments);
    *reinterpret_cast<ffi::Any*>(result) = function.callback(std::vector<ffi::AnyView>(first, first + count));
    return 0;
  } catch (const std::exception& error) {  // ffi::Error, from an argument of another type, is one too
    TVMFFIErrorSetRaisedFromCStr("RuntimeError", error.what());
    return -1;
  }
}

void DeleteRegistered(void* self) { delete static_cast<Registered*>(self); }

}  // namespace

void RegisterGlobal(const std::string& name, size_t argument_count, Callback callback) {
  auto function = std::make_unique<Registered>(Registered{name, argument_count, std::move(callback)});
  TVMFFIObjectHandle handle = nullptr;
  Check(TVMFFIFunctionCreate(function.release(), CallRegistered, DeleteRegistered, &handle));
  TVMFFIByteArray bytes = Bytes(name);
  int code = TVMFFIFunctionSetGlobal(&bytes, handle, /*allow_override=*/1);
  TVMFFIObjectDecRef(handle);
  Check(code);
}

ffi::Any CallGlobal(const std::string& name, std::initializer_list<ffi::AnyView> arguments) {
  TVMFFIByteArray bytes = Bytes(name);
  TVMFFIObjectHandle handle = nullptr;
  Check(TVMFFIFunctionGetGlobal(&bytes, &handle));
  if (!handle) throw std::runtime_error("TVM's runtime has no function " + name);
  std::vector<ffi::AnyView> copies(arguments);
  ffi::Any result;
  int code = TVMFFIFunctionCall(handle, reinterpret_cast<TVMFFIAny*>(copies.data()),
                                static_cast<int32_t>(copies.size()), reinterpret_cast<TVMFFIAny*>(&result));
  TVMFFIObjectDecRef(handle);
  Check(code);
  return result;
}

ModuleFunction::ModuleFunction(ffi::AnyView module, const std::string& name)
    : function_(CallGlobal("ffi.ModuleGetFunction", {module, ffi::String(name), false})) {
  if (reinterpret_cast<const TVMFFIAny&>(function_).type_index != kTVMFFIFunction) {
    throw std::runtime_error("the module has no function " + name);
  }
}

bool ModuleFunction::Call(const ffi::AnyView* arguments, int count) const {
  const auto* given = reinterpret_cast<const TVMFFIAny*>(arguments);
  ffi::Any result;
  return TVMFFIFunctionCall(reinterpret_cast<const TVMFFIAny&>(function_).v_obj, const_cast<TVMFFIAny*>(given), count,
                            reinterpret_cast<TVMFFIAny*>(&result)) == 0;
}

void ModuleFunction::ThrowFailure() { ThrowRaised(); }

}  // namespace shufflec
