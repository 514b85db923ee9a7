// One RPC session: its work folder and the functions that TVM's client expects on the other side.
#ifndef SHUFFLEC_SESSION_H_
#define SHUFFLEC_SESSION_H_

#include <string>

namespace shufflec {

// A fresh folder for the files a client uploads, under $TMPDIR or /tmp. Throws std::runtime_error.
std::string MakeWorkFolder();
void RemoveWorkFolder(const std::string& folder);

// Registers the session's functions and serves the client on `fd` until it leaves. Runs in a process of its own.
void ServeSession(int fd, const std::string& work_folder);

// Tells a client whose session was ended why; the connection may be gone already.
void SendEndReason(int fd, const std::string& reason);

// Versions and kind of this server as JSON; also the packed function `shufflec.version`.
std::string VersionJson(bool simulated);
void RegisterVersion(bool simulated);

// The packed function `shufflec.board`: the text of a file, which says what board this server stands for. Throws
// std::runtime_error when it cannot be read.
void RegisterBoard(const std::string& file);

}  // namespace shufflec

#endif  // SHUFFLEC_SESSION_H_
