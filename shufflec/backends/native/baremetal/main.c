/* The test firmware: runs the model on inputs from a file and writes what it computes to another.
 *
 * request.bin: uint32 magic, mode, count; then for each input its int8 bytes.
 * answer.bin:  for each input in mode 0: logits (int32), output (int8);
 *              in mode 1: every layer's tensor, dense, then the same;
 *              then uint32 stack bytes, uint32 1 when both canaries are whole, uint32 magic.
 */
#include "start.h"
#include MODEL_HEADER
#include MODEL_TEST_HEADER

#define JOIN_(prefix, name) prefix##_##name
#define JOIN(prefix, name) JOIN_(prefix, name)
#define MODEL(name) JOIN(PREFIX, name)
#define CONSTANT(name) JOIN(PREFIX_UPPER, name)

enum { MAGIC = 0x55434D53, MODE_LAYERS = 1 };

#define MARK_OPEN() __asm__ volatile(".short 0xbfa0" ::: "memory")
#define MARK_CLOSE() __asm__ volatile(".short 0xbfb0" ::: "memory")

#define CANARY 0x5AFEC0DEu
static struct {
  uint32_t before[8];
  int8_t arena[CONSTANT(ARENA_BYTES)] __attribute__((aligned(CONSTANT(ARENA_ALIGNMENT))));
  uint32_t after[8];
} memory __attribute__((aligned(CONSTANT(ARENA_ALIGNMENT))));

static int8_t input[CONSTANT(INPUT_BYTES)];
static int8_t output[CONSTANT(CLASSES)];

static void send(int file, const void *data, unsigned bytes) {
  if (host_write(file, data, bytes) != 0) host_exit(3);
}

static void send_tensor(int file, const struct MODEL(tensor) *t) {
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
      memcpy(memory.arena + CONSTANT(INPUT_OFFSET), input, sizeof input);
      for (int32_t layer = 0; layer < CONSTANT(LAYERS); layer++) {
        MARK_OPEN();
        MODEL(run_layer)(memory.arena, layer);
        MARK_CLOSE();
        send_tensor(out, &MODEL(tensors)[layer]);
      }
    } else {
      MARK_OPEN();
      int failed = MODEL(run_in)(memory.arena, input, output);
      MARK_CLOSE();
      if (failed) return 4;
      unsigned used = stack_used();
      deepest = used > deepest ? used : deepest;
    }
    send(out, memory.arena + CONSTANT(LOGITS_OFFSET), 4 * CONSTANT(CLASSES));
    send(out, output, CONSTANT(CLASSES));
  }
  uint32_t whole = 1, last[3];
  for (int i = 0; i < 8; i++) whole &= memory.before[i] == CANARY && memory.after[i] == CANARY;
  last[0] = deepest, last[1] = whole, last[2] = MAGIC;
  send(out, last, sizeof last);
  return 0;
}
