// Registration with TVM's RPC tracker, so that one address hands out any number of boards.
#ifndef SHUFFLEC_TRACKER_H_
#define SHUFFLEC_TRACKER_H_

#include <random>
#include <string>

#include "socket_io.h"

namespace shufflec {

// Keeps this server in the tracker's list. Every call but the constructor may throw SocketError: the connection was
// lost; the next call makes a new one.
class Tracker {
 public:
  // key: the kind of device that clients request; port: where this server listens.
  Tracker(std::string host, std::string port, std::string key, int listen_port);

  // Offers this server for one more session. The client that gets it presents match_key().
  void Offer();
  // Offers again when a client took the last offer and has not come; call it every kPollSeconds without a client.
  void Poll();
  const std::string& match_key() const { return match_key_; }
  void Disconnect() { connection_.Close(); }

  static constexpr int kPollSeconds = 2;

 private:
  void Connect();
  std::string Exchange(const std::string& message);

  std::string host_, port_, key_, match_key_;
  int listen_port_;
  int polls_without_offer_ = 0;
  Socket connection_;
  std::random_device random_;
};

}  // namespace shufflec

#endif  // SHUFFLEC_TRACKER_H_
