#include "socket_io.h"

#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>

namespace shufflec {

Socket& Socket::operator=(Socket&& other) noexcept {
  if (this != &other) {
    Close();
    fd_ = other.Release();
  }
  return *this;
}

int Socket::Release() {
  int fd = fd_;
  fd_ = -1;
  return fd;
}

void Socket::Close() {
  if (fd_ >= 0) close(fd_);
  fd_ = -1;
}

void Socket::ReadAll(void* data, size_t size) const {
  char* at = static_cast<char*>(data);
  while (size > 0) {
    ssize_t got = recv(fd_, at, size, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got == 0) throw SocketError("the peer closed the connection");
    if (got < 0) throw SocketError(std::string("read failed: ") + strerror(errno));
    at += got;
    size -= static_cast<size_t>(got);
  }
}

void Socket::WriteAll(const void* data, size_t size) const {
  const char* at = static_cast<const char*>(data);
  while (size > 0) {
    ssize_t put = send(fd_, at, size, MSG_NOSIGNAL);
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) throw SocketError(std::string("write failed: ") + strerror(errno));
    at += put;
    size -= static_cast<size_t>(put);
  }
}

int32_t Socket::ReadInt() const {
  int32_t value;
  ReadAll(&value, sizeof value);
  return value;
}

std::string Socket::ReadString(int32_t limit) const {
  int32_t size = ReadInt();
  if (size < 0 || size > limit) throw SocketError("a string of " + std::to_string(size) + " bytes was announced");
  std::string text(static_cast<size_t>(size), '\0');
  ReadAll(text.data(), text.size());
  return text;
}

void Socket::WriteInt(int32_t value) const { WriteAll(&value, sizeof value); }

void Socket::WriteString(const std::string& text) const {
  WriteInt(static_cast<int32_t>(text.size()));
  WriteAll(text.data(), text.size());
}

void Socket::SetReadTimeout(int seconds) const {
  timeval limit{};
  limit.tv_sec = seconds;
  setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
}

namespace {

using AddressList = std::unique_ptr<addrinfo, decltype(&freeaddrinfo)>;

AddressList Resolve(const std::string& host, const std::string& port, int flags) {
  addrinfo hints{}, *found = nullptr;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = flags;
  int failed = getaddrinfo(host.c_str(), port.c_str(), &hints, &found);
  if (failed) throw SocketError(host + ":" + port + ": " + gai_strerror(failed));
  return AddressList(found, &freeaddrinfo);
}

}  // namespace

Socket ConnectTo(const std::string& host, const std::string& port) {
  AddressList addresses = Resolve(host, port, 0);
  std::string reason = "no address";
  for (addrinfo* each = addresses.get(); each; each = each->ai_next) {
    Socket made(socket(each->ai_family, each->ai_socktype | SOCK_CLOEXEC, each->ai_protocol));
    if (made.open() && connect(made.fd(), each->ai_addr, each->ai_addrlen) == 0) return made;
    reason = strerror(errno);
  }
  throw SocketError(host + ":" + port + ": " + reason);
}

Socket ListenOn(const std::string& host, int* port) {
  AddressList addresses = Resolve(host, std::to_string(*port), AI_PASSIVE);
  addrinfo* first = addresses.get();
  Socket listening(socket(first->ai_family, first->ai_socktype | SOCK_CLOEXEC, first->ai_protocol));
  int on = 1;
  setsockopt(listening.fd(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (!listening.open() || bind(listening.fd(), first->ai_addr, first->ai_addrlen) != 0 ||
      listen(listening.fd(), 8) != 0) {
    throw SocketError(host + ":" + std::to_string(*port) + ": " + strerror(errno));
  }
  sockaddr_storage bound{};
  socklen_t size = sizeof bound;
  getsockname(listening.fd(), reinterpret_cast<sockaddr*>(&bound), &size);
  *port = ntohs(bound.ss_family == AF_INET6 ? reinterpret_cast<sockaddr_in6*>(&bound)->sin6_port
                                            : reinterpret_cast<sockaddr_in*>(&bound)->sin_port);
  return listening;
}

}  // namespace shufflec
