// Blocking reads and writes of the RPC handshake: 32-bit little-endian integers and length-prefixed strings.
#ifndef SHUFFLEC_SOCKET_IO_H_
#define SHUFFLEC_SOCKET_IO_H_

#include <cstdint>
#include <stdexcept>
#include <string>

namespace shufflec {

// The peer closed, timed out, or sent something that is not the protocol.
struct SocketError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// A file descriptor that is closed with its owner; -1 is none.
class Socket {
 public:
  Socket() = default;
  explicit Socket(int fd) : fd_(fd) {}
  ~Socket() { Close(); }
  Socket(Socket&& other) noexcept : fd_(other.Release()) {}
  Socket& operator=(Socket&& other) noexcept;
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;

  int fd() const { return fd_; }
  bool open() const { return fd_ >= 0; }
  int Release();
  void Close();

  // Every one of these throws SocketError.
  int32_t ReadInt() const;
  std::string ReadString(int32_t limit) const;  // refuses lengths outside 0..limit
  void WriteInt(int32_t value) const;
  void WriteString(const std::string& text) const;

  // Limits each later read to `seconds`; 0 waits without limit.
  void SetReadTimeout(int seconds) const;

 private:
  void ReadAll(void* data, size_t size) const;
  void WriteAll(const void* data, size_t size) const;
  int fd_ = -1;
};

// Connects over TCP. Throws SocketError that names the address.
Socket ConnectTo(const std::string& host, const std::string& port);

// Listens on a TCP address; *port is 0 for any free one and holds the one that was bound afterwards.
Socket ListenOn(const std::string& host, int* port);

}  // namespace shufflec

#endif  // SHUFFLEC_SOCKET_IO_H_
