#include "tracker.h"

#include <utility>

namespace shufflec {
namespace {

// tvm/rpc/base.py: RPC_TRACKER_MAGIC and TrackerCode
constexpr int32_t kTrackerMagic = 0x2F271;
constexpr int kPut = 3, kUpdateInfo = 5, kGetPendingMatchKeys = 7;
constexpr int32_t kReplyLimit = 1 << 20;
// A client has this many polls to come after the tracker gave it our key, as in TVM's own server.
constexpr int kPollsBeforeNewOffer = 3;

// The key is one word given by whoever starts the server: quotes and backslashes are all that JSON minds in it.
std::string Quoted(const std::string& text) {
  std::string quoted = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') quoted += '\\';
    quoted += c;
  }
  return quoted + "\"";
}

}  // namespace

Tracker::Tracker(std::string host, std::string port, std::string key, int listen_port)
    : host_(std::move(host)), port_(std::move(port)), key_(std::move(key)), listen_port_(listen_port) {}

std::string Tracker::Exchange(const std::string& message) {
  connection_.WriteString(message);
  return connection_.ReadString(kReplyLimit);
}

void Tracker::Connect() {
  if (connection_.open()) return;
  Socket made = ConnectTo(host_, port_);
  made.SetReadTimeout(10);
  made.WriteInt(kTrackerMagic);
  if (made.ReadInt() != kTrackerMagic) throw SocketError(host_ + ":" + port_ + " is not an RPC tracker");
  connection_ = std::move(made);
  Exchange("[" + std::to_string(kUpdateInfo) + ", {\"key\": " + Quoted("server:" + key_) + ", \"addr\": [null, " +
           std::to_string(listen_port_) + "]}]");
}

void Tracker::Offer() {
  Connect();
  match_key_ = key_ + ":0." + std::to_string(random_());
  polls_without_offer_ = 0;
  Exchange("[" + std::to_string(kPut) + ", " + Quoted(key_) + ", [" + std::to_string(listen_port_) + ", " +
           Quoted(match_key_) + "], null]");
}

void Tracker::Poll() {
  if (!connection_.open()) return Offer();
  std::string pending = Exchange("[" + std::to_string(kGetPendingMatchKeys) + "]");
  polls_without_offer_ = pending.find(Quoted(match_key_)) == std::string::npos ? polls_without_offer_ + 1 : 0;
  if (polls_without_offer_ > kPollsBeforeNewOffer) Offer();
}

}  // namespace shufflec
