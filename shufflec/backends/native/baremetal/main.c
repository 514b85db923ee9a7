/* The test firmware: runs the model on inputs from a file and writes what it computes to another.
 *
 * request.bin: uint32 magic, mode, count; then for each input its int8 bytes.
 * answer.bin:  for each input in mode 0: logits (int32), output (int8);
 *              in mode 1: every layer's tensor, dense, then the same;
 *              then uint32 stack bytes, uint32 1 when both canaries are whole, uint32 magic.
 */
#include "start.h"
#include "shufflec_model.h"
#include "shufflec_test.h"

enum { MAGIC = 0x55434D53, MODE_LAYERS = 1 };

#define MARK_OPEN() __asm__ volatile(".short 0xbfa0" ::: "memory")
#define MARK_CLOSE() __asm__ volatile(".short 0xbfb0" ::: "memory")

#define CANARY 0x5AFEC0DEu
static struct {
  uint32_t before[8];
  int8_t arena[SHUFFLEC_ARENA_BYTES] __attribute__((aligned(SHUFFLEC_ARENA_ALIGNMENT)));
  uint32_t after[8];
} memory __attribute__((aligned(SHUFFLEC_ARENA_ALIGNMENT)));

static int8_t input[SHUFFLEC_INPUT_BYTES];
static int8_t output[SHUFFLEC_CLASSES];

static void send(int file, const void *data, unsigned bytes) {
  if (host_write(file, data, bytes) != 0) host_exit(3);
}

static void send_tensor(int file, const struct shufflec_tensor *t) {
  for (int32_t y = 0; y < t->height; y++)
    for (int32_t x = 0; x < t->width; x++)
      send(file, memory.arena + t->offset + (y * t->row + x) * t->pitch, (unsigned)(t->channels * t->item_bytes));
}

int main(void) {
  uint32_t header[3];
  int in = host_open("request.bin", HOST_READ), out = host_open("answer.bin", HOST_WRITE);
  if (in < 0 || out < 0 || host_read(in, header, sizeof header) != 0 || header[0] != MAGIC) return 2;
  for (int i = 0; i < 8; i++) memory.before[i] = memory.after[i] = CANARY;
  unsigned deepest = 0;
  for (uint32_t i = 0; i < header[2]; i++) {
    if (host_read(in, input, sizeof input) != 0) return 2;
    stack_paint();
    if (header[1] == MODE_LAYERS) {
      memcpy(memory.arena + SHUFFLEC_INPUT_OFFSET, input, sizeof input);
      for (int32_t layer = 0; layer < shufflec_layer_count; layer++) {
        MARK_OPEN();
        shufflec_layers[layer](memory.arena);
        MARK_CLOSE();
        send_tensor(out, &shufflec_tensors[layer]);
      }
    } else {
      MARK_OPEN();
      int failed = shufflec_run_in(memory.arena, input, output);
      MARK_CLOSE();
      if (failed) return 4;
      unsigned used = stack_used();
      deepest = used > deepest ? used : deepest;
    }
    send(out, memory.arena + SHUFFLEC_LOGITS_OFFSET, 4 * SHUFFLEC_CLASSES);
    send(out, output, SHUFFLEC_CLASSES);
  }
  uint32_t whole = 1, last[3];
  for (int i = 0; i < 8; i++) whole &= memory.before[i] == CANARY && memory.after[i] == CANARY;
  last[0] = deepest, last[1] = whole, last[2] = MAGIC;
  send(out, last, sizeof last);
  return 0;
}
