/* Counts the instructions of a bare-metal Thumb program, by class, in regions that the program marks.
 *
 * The marks are hint instructions that no core gives a meaning to and every core takes as a NOP: BFA0 opens a region,
 * BFB0 closes it (neither is counted). At the end one line a region is written, in order: the counts of the classes.
 * Argument: out=FILE.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../tcg_plugin/qemu_plugin_api.h"
#include "thumb_class.h"

typedef void (*atexit_cb)(qemu_plugin_id_t, void *);
void qemu_plugin_register_atexit_cb(qemu_plugin_id_t, atexit_cb, void *);
size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *);
void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *, qemu_plugin_execute_cb, int flags, void *);
#if SHUFFLEC_QEMU_PLUGIN_API == 1
void qemu_plugin_register_vcpu_insn_exec_inline(struct qemu_plugin_insn *, int operation, void *counter, uint64_t);
#endif

QEMU_PLUGIN_EXPORT int qemu_plugin_version = SHUFFLEC_QEMU_PLUGIN_API;

enum { MARK_OPEN = 0xBFA0, MARK_CLOSE = 0xBFB0 };

static uint64_t counts[THUMB_CLASSES], opened[THUMB_CLASSES];
static FILE *out;

static void on_open(unsigned vcpu, void *data) {
  (void)vcpu, (void)data;
  memcpy(opened, counts, sizeof opened);
}

static void on_close(unsigned vcpu, void *data) {
  (void)vcpu, (void)data;
  for (int i = 0; i < THUMB_CLASSES; i++)
    fprintf(out, "%llu%c", (unsigned long long)(counts[i] - opened[i]), i + 1 < THUMB_CLASSES ? ' ' : '\n');
}

#if SHUFFLEC_QEMU_PLUGIN_API > 1
static void on_execute(unsigned vcpu, void *data) {
  (void)vcpu;
  ++*(uint64_t *)data;
}
#endif

static void count(struct qemu_plugin_insn *instruction, uint64_t *counter) {
#if SHUFFLEC_QEMU_PLUGIN_API == 1
  qemu_plugin_register_vcpu_insn_exec_inline(instruction, QEMU_PLUGIN_INLINE_ADD_U64, counter, 1);
#else
  qemu_plugin_register_vcpu_insn_exec_cb(instruction, on_execute, QEMU_PLUGIN_CB_NO_REGS, counter);
#endif
}

static void on_translate(qemu_plugin_id_t id, struct qemu_plugin_tb *tb) {
  (void)id;
  for (size_t i = 0; i < qemu_plugin_tb_n_insns(tb); i++) {
    struct qemu_plugin_insn *instruction = qemu_plugin_tb_get_insn(tb, i);
    size_t size = qemu_plugin_insn_size(instruction);
    uint16_t words[2] = {0, 0};
#if SHUFFLEC_QEMU_PLUGIN_API < 3
    memcpy(words, qemu_plugin_insn_data(instruction), size < sizeof words ? size : sizeof words);
#else
    qemu_plugin_insn_data(instruction, words, size < sizeof words ? size : sizeof words);
#endif
    if (size == 2 && words[0] == MARK_OPEN) {
      qemu_plugin_register_vcpu_insn_exec_cb(instruction, on_open, QEMU_PLUGIN_CB_NO_REGS, NULL);
    } else if (size == 2 && words[0] == MARK_CLOSE) {
      qemu_plugin_register_vcpu_insn_exec_cb(instruction, on_close, QEMU_PLUGIN_CB_NO_REGS, NULL);
    } else {
      count(instruction, &counts[shufflec_thumb_class(words[0], words[1], size)]);
    }
  }
}

static void at_end(qemu_plugin_id_t id, void *data) {
  (void)id, (void)data;
  if (fclose(out) != 0) fprintf(stderr, "shufflec counter: cannot write the counts\n");
}

QEMU_PLUGIN_EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info, int argc, char **argv) {
  if (!info->system_emulation || strcmp(info->target_name, "arm") != 0) {
    fprintf(stderr, "shufflec counter: made for qemu-system-arm, not for %s\n", info->target_name);
    return -1;
  }
  if (argc != 1 || strncmp(argv[0], "out=", 4) != 0 || !(out = fopen(argv[0] + 4, "w"))) {
    fprintf(stderr, "shufflec counter: out=FILE is missing or cannot be written\n");
    return -1;
  }
  qemu_plugin_register_vcpu_tb_trans_cb(id, on_translate);
  qemu_plugin_register_atexit_cb(id, at_end, NULL);
  return 0;
}
