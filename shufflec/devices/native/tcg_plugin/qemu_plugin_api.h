/* The part of QEMU's TCG plugin interface that the counter uses.
 *
 * Distributions ship plugin support in the qemu-user binary but not qemu-plugin.h, so it is declared here after QEMU's
 * documentation (docs/devel/tcg-plugins). SHUFFLEC_QEMU_PLUGIN_API is the interface version to build for:
 * 1 is QEMU 4.2 to 8.2, 2 is 9.0, 3 and later are 9.1 and later. QEMU refuses a plugin of a version it does not offer.
 */
#ifndef SHUFFLEC_QEMU_PLUGIN_API_H_
#define SHUFFLEC_QEMU_PLUGIN_API_H_

#include <stddef.h>
#include <stdint.h>

#ifndef SHUFFLEC_QEMU_PLUGIN_API
#define SHUFFLEC_QEMU_PLUGIN_API 1
#endif

#define QEMU_PLUGIN_EXPORT __attribute__((visibility("default")))

typedef uint64_t qemu_plugin_id_t;

typedef struct {
  const char *target_name; /* "aarch64" */
  struct {
    int min, cur;
  } version;
  _Bool system_emulation;
} qemu_info_t; /* a system emulation's further fields follow; they are not read here */

struct qemu_plugin_tb;
struct qemu_plugin_insn;

enum { QEMU_PLUGIN_CB_NO_REGS = 0 };
enum { QEMU_PLUGIN_INLINE_ADD_U64 = 0 };
enum { QEMU_PLUGIN_MEM_RW = 3 };

typedef uint32_t qemu_plugin_meminfo_t;

typedef void (*qemu_plugin_translate_cb)(qemu_plugin_id_t, struct qemu_plugin_tb *);
typedef void (*qemu_plugin_execute_cb)(unsigned vcpu, void *data);
typedef void (*qemu_plugin_mem_callback)(unsigned vcpu, qemu_plugin_meminfo_t, uint64_t address, void *data);
typedef void (*qemu_plugin_vcpu_cb)(qemu_plugin_id_t, unsigned vcpu);
typedef void (*qemu_plugin_syscall_cb)(qemu_plugin_id_t, unsigned vcpu, int64_t number, uint64_t a1, uint64_t a2,
                                       uint64_t a3, uint64_t a4, uint64_t a5, uint64_t a6, uint64_t a7, uint64_t a8);

void qemu_plugin_register_vcpu_init_cb(qemu_plugin_id_t, qemu_plugin_vcpu_cb);
void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t, qemu_plugin_translate_cb);
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *, qemu_plugin_execute_cb, int flags, void *data);
void qemu_plugin_register_vcpu_syscall_cb(qemu_plugin_id_t, qemu_plugin_syscall_cb);

void qemu_plugin_register_vcpu_mem_cb(struct qemu_plugin_insn *, qemu_plugin_mem_callback, int flags, int access, void *data);
unsigned qemu_plugin_mem_size_shift(qemu_plugin_meminfo_t);
_Bool qemu_plugin_mem_is_store(qemu_plugin_meminfo_t);

size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t index);
uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *);

#if SHUFFLEC_QEMU_PLUGIN_API == 1
/* Adds to *counter without a call; not atomic. Version 2 replaced it by per-vcpu scoreboards. */
void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *, int operation, void *counter, uint64_t value);
#endif

#if SHUFFLEC_QEMU_PLUGIN_API < 3
const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *);
#else
size_t qemu_plugin_insn_data(const struct qemu_plugin_insn *, void *destination, size_t length);
#endif

#endif /* SHUFFLEC_QEMU_PLUGIN_API_H_ */
