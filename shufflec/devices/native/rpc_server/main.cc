// A small TVM RPC server: accepts one client at a time, serves it in a process of its own, and starts over.
//
// The protocol is that of tvm/rpc/server.py; the session itself is served by `rpc.ServerLoop` of libtvm_runtime.so.
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>

#include "parallel_launch.h"
#include "session.h"
#include "simulated_timer.h"
#include "socket_io.h"
#include "tracker.h"

namespace shufflec {
namespace {

// tvm/rpc/base.py: RPC_MAGIC and the reply to a client with another key
constexpr int32_t kMagic = 0xFF271, kMismatch = kMagic + 2;
constexpr int32_t kKeyLimit = 4096;
// devices/handshake.py asks with this key whether somebody listens; the refusal is the answer, not worth a log line.
constexpr char kQuestion[] = "client:shufflec-asks-whether-somebody-listens";
constexpr int kHandshakeSeconds = 10;  // so that a client that says nothing does not keep others out

constexpr char kUsage[] =
    "usage: shufflec_rpc_server [--host ADDRESS] [--port N] [--key KEY] [--tracker HOST:PORT]\n"
    "                           [--counters FILE --clock-hz HZ --cycles load=C,store=C,... --threads N]\n"
    "                           [--board FILE]\n"
    "  --host      address to listen on; 127.0.0.1 unless given (0.0.0.0 lets the whole network in)\n"
    "  --port      port to listen on; 0, the default, takes any free one, which is printed\n"
    "  --key       name that clients must present\n"
    "  --tracker   TVM RPC tracker to register with; needs --key\n"
    "  --counters  counters of the emulator: report simulated time, at --clock-hz and --cycles per instruction\n"
    "  --threads   of the emulated board, with --counters; 1 unless given\n"
    "  --board     what the emulated board is, as JSON: clients get its text\n";

struct Options {
  std::string host = "127.0.0.1", key, tracker_host, tracker_port, counters, cycles, board;
  int port = 0, threads = 1;
  double clock_hz = 0;
};

struct Client {
  Socket socket;
  unsigned timeout_seconds = 0;  // 0: the session may last as long as it likes
};

volatile sig_atomic_t stop_requested = 0;
void RequestStop(int) { stop_requested = 1; }
void WakeUp(int) {}

// No SA_RESTART: accept and poll return with EINTR and their loops look at what happened.
void InstallSignals() {
  struct sigaction stop{}, wake{};
  stop.sa_handler = RequestStop;
  wake.sa_handler = WakeUp;
  sigaction(SIGTERM, &stop, nullptr);
  sigaction(SIGINT, &stop, nullptr);
  sigaction(SIGCHLD, &wake, nullptr);
  signal(SIGPIPE, SIG_IGN);
}

Options ParseOptions(int argc, char** argv) {
  static const option kLong[] = {{"host", 1, nullptr, 'h'},     {"port", 1, nullptr, 'p'},     {"key", 1, nullptr, 'k'},
                                 {"tracker", 1, nullptr, 't'},  {"counters", 1, nullptr, 'c'}, {"cycles", 1, nullptr, 'y'},
                                 {"clock-hz", 1, nullptr, 'z'}, {"threads", 1, nullptr, 'n'},  {"board", 1, nullptr, 'b'},
                                 {nullptr, 0, nullptr, 0}};
  Options options;
  for (int c; (c = getopt_long(argc, argv, "", kLong, nullptr)) != -1;) {
    std::string value = optarg ? optarg : "";
    switch (c) {
      case 'h': options.host = value; break;
      case 'p': options.port = std::stoi(value); break;
      case 'k': options.key = value; break;
      case 'c': options.counters = value; break;
      case 'y': options.cycles = value; break;
      case 'z': options.clock_hz = std::stod(value); break;
      case 'b': options.board = value; break;
      case 'n': options.threads = std::stoi(value); break;
      case 't': {
        size_t colon = value.rfind(':');
        if (colon == std::string::npos) throw std::invalid_argument("--tracker: expected HOST:PORT");
        options.tracker_host = value.substr(0, colon);
        options.tracker_port = value.substr(colon + 1);
        break;
      }
      default: throw std::invalid_argument("unknown option");
    }
  }
  if (optind < argc) throw std::invalid_argument(std::string("unknown argument ") + argv[optind]);
  if (!options.tracker_host.empty() && options.key.empty()) throw std::invalid_argument("--tracker needs --key");
  if (options.threads < 1 || options.threads > SHUFFLEC_MAX_THREADS) throw std::invalid_argument("--threads: expected 1 to 16");
  if (options.port < 0 || options.port > 65535) throw std::invalid_argument("--port: expected 0 to 65535");
  return options;
}

// The client says: magic, then "client:KEY" and options such as "-timeout=60". Throws SocketError after refusing.
Client Handshake(Socket socket, const std::string& key, const std::string& match_key) {
  Client client;
  socket.SetReadTimeout(kHandshakeSeconds);
  if (socket.ReadInt() != kMagic) throw SocketError("a client that does not speak TVM's RPC protocol");
  std::istringstream words(socket.ReadString(kKeyLimit));
  std::string presented, word;
  words >> presented;
  if (presented != "client:" + match_key) {
    socket.WriteInt(kMismatch);
    if (presented == kQuestion) return {};
    throw SocketError("a client with another key: " + presented);
  }
  while (words >> word) {
    if (word.rfind("-timeout=", 0) == 0) client.timeout_seconds = static_cast<unsigned>(strtod(word.c_str() + 9, nullptr));
  }
  socket.WriteInt(kMagic);
  socket.WriteString("server:" + key);
  socket.SetReadTimeout(0);
  int on = 1;
  setsockopt(socket.fd(), SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
  client.socket = std::move(socket);
  return client;
}

// Waits for a client that presents the right key. An empty socket: asked to stop, or nobody came within a poll.
Client Accept(const Socket& listening, const std::string& key, Tracker* tracker) {
  if (tracker) {
    pollfd wait{listening.fd(), POLLIN, 0};
    int ready = poll(&wait, 1, Tracker::kPollSeconds * 1000);
    if (ready == 0) tracker->Poll();
    if (ready <= 0) return {};
  }
  Socket socket(accept4(listening.fd(), nullptr, nullptr, SOCK_CLOEXEC));
  if (!socket.open()) return {};
  try {
    return Handshake(std::move(socket), key, tracker ? tracker->match_key() : key);
  } catch (const SocketError& error) {
    fprintf(stderr, "refused: %s\n", error.what());
    return {};
  }
}

// Waits for the session's process and returns its status. Ends it when the server is asked to stop, and when the client
// has gone while uploaded code still computes: nobody could use the result, and the next client waits.
int WaitForSession(pid_t child, int client_fd) {
  constexpr int kPollMs = 200, kGraceMs = 3000;
  int status = 0, gone_ms = 0;
  while (waitpid(child, &status, WNOHANG) == 0) {
    pollfd client{client_fd, POLLRDHUP, 0};
    bool gone = gone_ms > 0 || (poll(&client, 1, kPollMs) > 0 && client.revents != 0);
    if (gone) {
      constexpr int kStepMs = 10;  // poll would return at once from now on
      usleep(kStepMs * 1000);
      gone_ms += kStepMs;
    }
    if (stop_requested || gone_ms > kGraceMs) kill(child, SIGKILL);
  }
  return status;
}

// Serves in a child, because uploaded code may crash or hang; the parent cleans up after it in every case.
void Serve(const Client& client, int listening_fd, bool simulated) {
  std::string folder = MakeWorkFolder();
  pid_t child = fork();
  if (child == 0) {
    close(listening_fd);
    signal(SIGTERM, SIG_DFL);
    signal(SIGINT, SIG_DFL);
    signal(SIGCHLD, SIG_DFL);
    if (client.timeout_seconds) alarm(client.timeout_seconds);
    int failed = 0;
    int fd = client.socket.fd();
    if (simulated) {
      StartSimulatedSession([fd](const std::string& reason) {
        fprintf(stderr, "session: %s\n", reason.c_str());
        fflush(nullptr);
        SendEndReason(fd, "NoTimeError: " + reason);
        _exit(1);
      });
    }
    try {
      ServeSession(client.socket.fd(), folder);
    } catch (const std::exception& error) {
      fprintf(stderr, "session: %s\n", error.what());
      failed = 1;
    }
    fflush(nullptr);
    _exit(failed);  // static destructors of uploaded modules must not run twice
  }
  if (child < 0) {
    fprintf(stderr, "session: cannot start a process: %s\n", strerror(errno));
  } else {
    int status = WaitForSession(child, client.socket.fd());
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM) {
      SendEndReason(client.socket.fd(), "RPCSessionTimeoutError: the session lasted longer than the " +
                                            std::to_string(client.timeout_seconds) + " s its client asked for");
    } else if (WIFSIGNALED(status)) {
      fprintf(stderr, "session: ended by signal %d (%s)\n", WTERMSIG(status), strsignal(WTERMSIG(status)));
    }
  }
  RemoveWorkFolder(folder);
}

void RunServer(const Options& options) {
  bool simulated = !options.counters.empty();
  if (simulated) {
    CoreCost cost = CoreCost::Parse(options.clock_hz, options.cycles);
    if (!OpenCounters(options.counters.c_str())) {
      throw std::runtime_error("--counters " + options.counters + ": no emulator counts there");
    }
    RegisterSimulatedTimer(cost);
    RegisterParallelLaunch(options.threads);
  }
  RegisterVersion(simulated);
  if (!options.board.empty()) RegisterBoard(options.board);
  int port = options.port;
  Socket listening = ListenOn(options.host, &port);
  printf("listening on %s:%d %s\n", options.host.c_str(), port, VersionJson(simulated).c_str());
  fflush(stdout);

  std::unique_ptr<Tracker> tracker;
  if (!options.tracker_host.empty()) {
    tracker = std::make_unique<Tracker>(options.tracker_host, options.tracker_port, options.key, port);
  }
  bool offered = false;
  while (!stop_requested) {
    try {
      if (tracker && !offered) {
        tracker->Offer();
        offered = true;
      }
      Client client = Accept(listening, options.key, tracker.get());
      if (!client.socket.open()) continue;
      Serve(client, listening.fd(), simulated);
      offered = false;
    } catch (const SocketError& error) {  // only the tracker's connection ends up here
      fprintf(stderr, "tracker: %s; trying again\n", error.what());
      tracker->Disconnect();
      offered = false;
      sleep(1);
    }
  }
}

}  // namespace
}  // namespace shufflec

int main(int argc, char** argv) {
  try {
    shufflec::InstallSignals();
    shufflec::RunServer(shufflec::ParseOptions(argc, argv));
    return 0;
  } catch (const std::invalid_argument& error) {
    fprintf(stderr, "shufflec_rpc_server: %s\n%s", error.what(), shufflec::kUsage);
    return 2;
  } catch (const std::exception& error) {
    fprintf(stderr, "shufflec_rpc_server: %s\n", error.what());
    return 1;
  }
}
