/* TCG plugin for qemu-aarch64 (user mode): counts executed instructions by class between two guest requests, and asks
 * a clock how long they would take on the board.
 *
 * Arguments: counters=FILE  the file shared with the guest (../common/counters.h), made by whoever starts qemu
 *            threads=N      of the board, 1 (default) to 16; the guest itself runs them one after the other in one thread
 *            guest_threads=many  programs of several threads, counted as thread 0: exact, but slower, and without a clock
 *            clock=SOCKET   a clock process listens there (../common/clock_protocol.h); needs caches
 *            caches=LINE:SETSxWAYS[s]:...  bytes in a line and the levels, nearest first; s: shared by all threads
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "a64_class.h"
#include "block_table.h"
#include "cache_model.h"
#include "clock_client.h"
#include "qemu_plugin_api.h"

QEMU_PLUGIN_EXPORT int qemu_plugin_version = SHUFFLEC_QEMU_PLUGIN_API;

static struct ShufflecCounters *shared;
static int many_guest_threads, too_many_threads;
static unsigned thread; /* of the board, that runs now */
/* Caches are followed while a client is served, so that they are warm when a region starts; misses count inside it. */
static int serving, in_region, paused;

static void on_execute(unsigned vcpu, void *data) {
  (void)vcpu;
  __atomic_fetch_add((uint64_t *)data, 1, __ATOMIC_RELAXED);
}

static void count_executions(struct qemu_plugin_tb *tb, struct Block *block) {
#if SHUFFLEC_QEMU_PLUGIN_API == 1
  if (!many_guest_threads) {
    qemu_plugin_register_vcpu_tb_exec_inline(tb, QEMU_PLUGIN_INLINE_ADD_U64, block->executions, 1);
    return;
  }
#endif
  qemu_plugin_register_vcpu_tb_exec_cb(tb, on_execute, QEMU_PLUGIN_CB_NO_REGS, block->executions);
}

static void on_access(unsigned vcpu, qemu_plugin_meminfo_t access, uint64_t address, void *data) {
  if (!serving || vcpu != 0 || (paused && !in_region)) return;
  static struct CacheMisses outside; /* nobody asks for them */
  struct CacheMisses *misses = in_region ? &((struct Block *)data)->shares[thread].misses : &outside;
  cache_model_access(thread, address, 1u << qemu_plugin_mem_size_shift(access), qemu_plugin_mem_is_store(access), misses);
}

static void follow_accesses(struct qemu_plugin_tb *tb, struct Block *block) {
  for (uint32_t i = 0; i < block->length; i++) {
    enum ShufflecClass kind = shufflec_a64_class(block->words[i]);
    if (kind != SHUFFLEC_LOAD && kind != SHUFFLEC_STORE) continue;
    qemu_plugin_register_vcpu_mem_cb(qemu_plugin_tb_get_insn(tb, i), on_access, QEMU_PLUGIN_CB_NO_REGS,
                                     QEMU_PLUGIN_MEM_RW, block);
  }
}

static uint32_t instruction_word(const struct qemu_plugin_insn *instruction) {
  uint32_t word = 0; /* both machines are little-endian */
#if SHUFFLEC_QEMU_PLUGIN_API < 3
  memcpy(&word, qemu_plugin_insn_data(instruction), sizeof word);
#else
  qemu_plugin_insn_data(instruction, &word, sizeof word);
#endif
  return word;
}

/* A count that misses something would be wrong without a sign of it. */
static void insist(int failed) {
  if (!failed) return;
  fprintf(stderr, "shufflec counter: out of memory\n");
  abort();
}

static void on_translate(qemu_plugin_id_t id, struct qemu_plugin_tb *tb) {
  (void)id;
  size_t length = qemu_plugin_tb_n_insns(tb);
  uint32_t *words = malloc(length * sizeof *words);
  struct Block *block = NULL;
  if (words) {
    for (size_t i = 0; i < length; i++) words[i] = instruction_word(qemu_plugin_tb_get_insn(tb, i));
    block = block_table_add(qemu_plugin_tb_vaddr(tb), words, (uint32_t)length);
  }
  free(words);
  insist(!block);
  count_executions(tb, block);
  if (cache_model_configured()) follow_accesses(tb, block);
}

static void start_region(void) {
  block_table_start_region();
  in_region = 1;
}

static void stop_region(void) {
  in_region = 0;
  insist(block_table_stop_region());
  block_table_sum(shared->instructions);
  shared->exact = !too_many_threads;
  memset(&shared->estimate, 0, sizeof shared->estimate);
  if (serving) clock_client_estimate(&shared->estimate);
  shared->regions++;
}

static void start_parallel(void) {
  if (in_region) insist(block_table_next_section(1));
  cache_model_fork();
}

static void switch_thread(uint64_t to) {
  if (to >= block_table_threads()) {
    too_many_threads = 1;
    return;
  }
  thread = (unsigned)to;
  if (in_region) block_table_switch(thread);
}

static void stop_parallel(void) {
  insist(cache_model_join());
  thread = 0;
  if (in_region) insist(block_table_next_section(0));
}

static void start_session(void) {
  cache_model_clear();
  serving = clock_client_present();
}

static void on_syscall(qemu_plugin_id_t id, unsigned vcpu, int64_t number, uint64_t operation, uint64_t a2, uint64_t a3,
                       uint64_t a4, uint64_t a5, uint64_t a6, uint64_t a7, uint64_t a8) {
  (void)id, (void)vcpu, (void)a3, (void)a4, (void)a5, (void)a6, (void)a7, (void)a8;
  if (number != SHUFFLEC_SYSCALL) return;
  switch (operation) {
    case SHUFFLEC_REGION_START: start_region(); break;
    case SHUFFLEC_REGION_STOP: stop_region(); break;
    case SHUFFLEC_SESSION_START: start_session(); break;
    case SHUFFLEC_CACHES_PAUSE: paused = 1; break;
    case SHUFFLEC_CACHES_RESUME: paused = 0; break;
    case SHUFFLEC_PARALLEL_START: start_parallel(); break;
    case SHUFFLEC_THREAD: switch_thread(a2); break;
    case SHUFFLEC_PARALLEL_STOP: stop_parallel(); break;
  }
}

static void on_vcpu_init(qemu_plugin_id_t id, unsigned vcpu) {
  (void)id;
  if (vcpu > 0 && !many_guest_threads) too_many_threads = 1; /* the board's threads are not the guest's */
}

static int refuse(const char *what, const char *detail) {
  fprintf(stderr, "shufflec counter: %s%s\n", what, detail);
  return -1;
}

static int map_counters(const char *path) {
  int file = open(path, O_RDWR | O_CLOEXEC);
  if (file < 0 || ftruncate(file, sizeof *shared) != 0) return refuse("cannot open counters file: ", strerror(errno));
  shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  close(file);
  if (shared == MAP_FAILED) return refuse("cannot map counters file: ", strerror(errno));
  memset(shared, 0, sizeof *shared);
  shared->magic = SHUFFLEC_COUNTERS_MAGIC;
  return 0;
}

static int configure_caches(const char *text) {
  struct CacheLevel levels[CACHE_LEVELS_MAX] = {{0}};
  unsigned line_bytes = 0, count = 0;
  int at = 0;
  if (sscanf(text, "%u%n", &line_bytes, &at) != 1) return -1;
  for (text += at; *text; text += at, count++) {
    if (count == CACHE_LEVELS_MAX) return -1;
    if (sscanf(text, ":%" SCNu32 "x%" SCNu32 "%n", &levels[count].sets, &levels[count].ways, &at) != 2) return -1;
    levels[count].shared = text[at] == 's';
    at += text[at] == 's';
  }
  return cache_model_configure(levels, count, line_bytes, block_table_threads());
}

QEMU_PLUGIN_EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info, int argc, char **argv) {
  const char *counters = NULL, *caches = NULL;
  for (int i = 0; i < argc; i++) {
    if (!strncmp(argv[i], "counters=", 9)) {
      counters = argv[i] + 9;
    } else if (!strncmp(argv[i], "threads=", 8)) {
      unsigned long threads = strtoul(argv[i] + 8, NULL, 10);
      if (threads < 1 || threads > SHUFFLEC_MAX_THREADS) return refuse("cannot count this many: ", argv[i]);
      block_table_set_threads((unsigned)threads);
    } else if (!strcmp(argv[i], "guest_threads=many")) {
      many_guest_threads = 1;
    } else if (!strncmp(argv[i], "clock=", 6)) {
      if (clock_client_set_socket(argv[i] + 6) != 0) return refuse("no socket can have this path: ", argv[i]);
    } else if (!strncmp(argv[i], "caches=", 7)) {
      caches = argv[i] + 7;
    } else {
      return refuse("unknown argument: ", argv[i]);
    }
  }
  if (info->system_emulation || strcmp(info->target_name, "aarch64") != 0) {
    return refuse("made for qemu-aarch64 in user mode, not for ", info->target_name);
  }
  if (info->version.min > SHUFFLEC_QEMU_PLUGIN_API || info->version.cur < SHUFFLEC_QEMU_PLUGIN_API) {
    return refuse("this QEMU has another plugin interface version", "; remove the cache folder to build the counter again");
  }
  if (!counters) return refuse("counters=FILE is missing", "");
  if (clock_client_present() != (caches != NULL)) return refuse("clock=SOCKET and caches=... need each other", "");
  if (caches && many_guest_threads) return refuse("guest_threads=many has no time: leave clock and caches out", "");
  if (caches && configure_caches(caches) != 0) return refuse("cannot model these caches: ", caches);
  if (map_counters(counters) != 0) return -1;
  qemu_plugin_register_vcpu_init_cb(id, on_vcpu_init);
  qemu_plugin_register_vcpu_tb_trans_cb(id, on_translate);
  qemu_plugin_register_vcpu_syscall_cb(id, on_syscall);
  return 0;
}
