#include "session.h"

#include <tvm/ffi/string.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <vector>

#include "ffi_bridge.h"

// The build defines both: the versions of the wheels whose libraries this server is linked with.
#ifndef SHUFFLEC_TVM_VERSION
#error "define SHUFFLEC_TVM_VERSION, for example -DSHUFFLEC_TVM_VERSION=0.27.0.post1"
#endif
#define SHUFFLEC_TEXT2(x) #x
#define SHUFFLEC_TEXT(x) SHUFFLEC_TEXT2(x)

namespace ffi = tvm::ffi;

namespace shufflec {
namespace {

// A client may only name files inside its session's folder.
std::string InWorkFolder(const std::string& folder, const std::string& name) {
  if (name.empty() || name == "." || name == ".." || name.find('/') != std::string::npos ||
      name.find('\0') != std::string::npos) {
    throw std::invalid_argument("'" + name + "' is not a plain file name");
  }
  return folder + "/" + name;
}

}  // namespace

std::string MakeWorkFolder() {
  const char* base = getenv("TMPDIR");
  std::string pattern = std::string(base && *base ? base : "/tmp") + "/shufflec-rpc-XXXXXX";
  std::vector<char> name(pattern.c_str(), pattern.c_str() + pattern.size() + 1);
  if (!mkdtemp(name.data())) throw std::runtime_error(pattern + ": " + strerror(errno));
  return name.data();
}

void RemoveWorkFolder(const std::string& folder) {
  std::error_code failed;
  std::filesystem::remove_all(folder, failed);
  if (failed) fprintf(stderr, "cannot remove %s: %s\n", folder.c_str(), failed.message().c_str());
}

void ServeSession(int fd, const std::string& work_folder) {
  auto path = [work_folder](const std::vector<ffi::AnyView>& arguments) {
    return ffi::String(InWorkFolder(work_folder, arguments[0].cast<ffi::String>()));
  };
  RegisterGlobal("tvm.rpc.server.workpath", 1, [path](const auto& arguments) { return ffi::Any(path(arguments)); });
  RegisterGlobal("tvm.rpc.server.load_module", 1,
                 [path](const auto& arguments) { return CallGlobal("ffi.ModuleLoadFromFile", {path(arguments)}); });
  CallGlobal("rpc.ServerLoop", {fd});
}

void SendEndReason(int fd, const std::string& reason) {
  try {
    CallGlobal("rpc.ReturnException", {fd, ffi::String(reason)});
  } catch (const std::exception& error) {
    fprintf(stderr, "the client was not told that its session ended: %s\n", error.what());
  }
}

std::string VersionJson(bool simulated) {
  return std::string("{\"server\": \"shufflec\", \"tvm\": \"" SHUFFLEC_TEXT(SHUFFLEC_TVM_VERSION) "\", \"kind\": \"") +
         (simulated ? "simulated" : "measured") + "\"}";
}

void RegisterVersion(bool simulated) {
  RegisterGlobal("shufflec.version", 0, [simulated](const auto&) { return ffi::Any(ffi::String(VersionJson(simulated))); });
}

void RegisterBoard(const std::string& file) {
  std::ifstream stream(file);
  std::stringstream text;
  if (!(text << stream.rdbuf())) throw std::runtime_error("--board " + file + ": cannot be read");
  RegisterGlobal("shufflec.board", 0, [board = text.str()](const auto&) { return ffi::Any(ffi::String(board)); });
}

}  // namespace shufflec
