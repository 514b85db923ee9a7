/* The board's side of the line protocol in SERIAL.md: frames, and the model behind them. */
#include "serial.h"

#include <stddef.h>

#include "serial_model.h"
#include "shufflec_model.h"
#include "shufflec_test.h"

void *memcpy(void *restrict to, const void *restrict from, size_t bytes);

enum { START = 0x7E, ESCAPE = 0x7D, FLIP = 0x20, VERSION = 1, MOST = 256, HEAD = 4, REFUSED = 0xFF };
enum { HELLO = 1, WRITE, RUN, LAYER, READ };
enum { UNKNOWN = 1, OUTSIDE, OUT_OF_TURN, FAILED };
enum { LOGITS, OUTPUT, TENSOR };

/* ---- frames ---- */

struct frame {
  uint8_t bytes[HEAD + MOST + 4]; /* sequence, type, length, payload; behind it the CRC when received */
};

static uint32_t get16(const uint8_t *at) { return at[0] | (uint32_t)at[1] << 8; }
static uint32_t get32(const uint8_t *at) { return get16(at) | get16(at + 2) << 16; }

static void put32(uint8_t *at, uint32_t value) {
  for (int i = 0; i < 4; i++) at[i] = (uint8_t)(value >> 8 * i);
}

static uint32_t crc32(const uint8_t *data, uint32_t bytes) {
  uint32_t crc = 0xFFFFFFFF;
  while (bytes--) {
    crc ^= *data++;
    for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (0xEDB88320 & -(crc & 1));
  }
  return ~crc;
}

/* Waits for a whole frame; whatever is none is passed over. */
static void receive(struct frame *frame) {
  uint32_t got = 0, inside = 0, flip = 0;
  for (;;) {
    uint8_t byte = (uint8_t)shufflec_serial_read();
    if (byte == START) {
      got = flip = 0, inside = 1;
      continue;
    }
    if (!inside) continue;
    if (byte == ESCAPE) {
      flip = FLIP;
      continue;
    }
    frame->bytes[got++] = (uint8_t)(byte ^ flip);
    flip = 0;
    if (got < HEAD) continue;
    uint32_t length = get16(frame->bytes + 2);
    if (length > MOST) inside = 0;
    else if (got == HEAD + length + 4) {
      if (crc32(frame->bytes, HEAD + length) == get32(frame->bytes + HEAD + length)) return;
      inside = 0;
    }
  }
}

static void escaped(uint8_t byte) {
  if (byte == START || byte == ESCAPE) {
    shufflec_serial_write(ESCAPE);
    byte ^= FLIP;
  }
  shufflec_serial_write(byte);
}

static void transmit(const struct frame *frame) {
  uint8_t crc[4];
  uint32_t bytes = HEAD + get16(frame->bytes + 2);
  put32(crc, crc32(frame->bytes, bytes));
  shufflec_serial_write(START);
  for (uint32_t i = 0; i < bytes; i++) escaped(frame->bytes[i]);
  for (int i = 0; i < 4; i++) escaped(crc[i]);
}

/* ---- the model ---- */

#define CANARY 0x5AFEC0DEu
#define PAINT 0xA5C35A3Cu
#define FRAME_BYTES 96 /* of stack_paint itself; nothing is written so near */

static struct {
  uint32_t before[8];
  int8_t arena[SHUFFLEC_ARENA_BYTES] __attribute__((aligned(SHUFFLEC_ARENA_ALIGNMENT)));
  uint32_t after[8];
} memory __attribute__((aligned(SHUFFLEC_ARENA_ALIGNMENT)));
static int8_t input[SHUFFLEC_INPUT_BYTES];
static int8_t output[SHUFFLEC_CLASSES];
static uint32_t next_layer;
static int counts_cycles;
static uint32_t *stack_here;

static __attribute__((noinline)) void stack_paint(void) {
  stack_here = __builtin_frame_address(0);
  for (uint32_t i = FRAME_BYTES / 4; i <= SHUFFLEC_STACK_WINDOW / 4; i++) *(volatile uint32_t *)(stack_here - i) = PAINT;
}

static uint32_t stack_used(void) {
  uint32_t depth = SHUFFLEC_STACK_WINDOW / 4;
  while (depth >= FRAME_BYTES / 4 && *(volatile uint32_t *)(stack_here - depth) == PAINT) depth--;
  return 4 * depth;
}

static uint8_t canaries_whole(void) {
  uint8_t whole = 1;
  for (int i = 0; i < 8; i++) whole &= memory.before[i] == CANARY && memory.after[i] == CANARY;
  return whole;
}

static uint32_t tensor_bytes(const struct shufflec_tensor *t) {
  return (uint32_t)(t->height * t->width * t->channels * t->item_bytes);
}

/* A byte of a layer's tensor as if it were dense. */
static uint8_t tensor_byte(const struct shufflec_tensor *t, uint32_t index) {
  uint32_t line = (uint32_t)(t->channels * t->item_bytes), pixel = index / line;
  uint32_t y = pixel / (uint32_t)t->width, x = pixel % (uint32_t)t->width;
  return (uint8_t)memory.arena[(uint32_t)t->offset + (y * (uint32_t)t->row + x) * (uint32_t)t->pitch + index % line];
}

/* ---- requests: each fills the payload and returns its length, or minus a reason ---- */

static int hello(uint8_t *answer) {
  static const uint8_t model[16] = SHUFFLEC_DIGEST;
  static const char name[] = SHUFFLEC_BOARD;
  answer[0] = VERSION, answer[1] = (uint8_t)counts_cycles;
  put32(answer + 2, shufflec_clock_hz());
  put32(answer + 6, SHUFFLEC_INPUT_BYTES);
  put32(answer + 10, SHUFFLEC_CLASSES);
  put32(answer + 14, SHUFFLEC_LAYERS);
  memcpy(answer + 18, model, 16);
  memcpy(answer + 34, name, sizeof name - 1);
  next_layer = 0;
  return 34 + sizeof name - 1;
}

static int write_input(const uint8_t *payload, uint32_t length) {
  if (length < 4 || get32(payload) > sizeof input || length - 4 > sizeof input - get32(payload)) return -OUTSIDE;
  memcpy(input + get32(payload), payload + 4, length - 4);
  return 0;
}

static int run(uint8_t *answer) {
  next_layer = 0;
  stack_paint();
  uint32_t before = shufflec_cycles();
  int failed = shufflec_run_in(memory.arena, input, output);
  uint32_t cycles = shufflec_cycles() - before;
  if (failed) return -FAILED;
  put32(answer, counts_cycles ? cycles : 0);
  put32(answer + 4, stack_used());
  answer[8] = canaries_whole();
  return 9;
}

static int run_layer(const uint8_t *payload, uint32_t length, uint8_t *answer) {
  uint32_t number = length == 4 ? get32(payload) : SHUFFLEC_LAYERS;
  if (number >= SHUFFLEC_LAYERS || (number && number != next_layer)) return -OUT_OF_TURN;
  if (number == 0) memcpy(memory.arena + SHUFFLEC_INPUT_OFFSET, input, sizeof input);
  uint32_t before = shufflec_cycles();
  shufflec_run_layer(memory.arena, (int32_t)number);
  uint32_t cycles = shufflec_cycles() - before;
  next_layer = number + 1;
  put32(answer, counts_cycles ? cycles : 0);
  put32(answer + 4, tensor_bytes(&shufflec_tensors[number]));
  answer[8] = canaries_whole();
  return 9;
}

static int read_back(const uint8_t *payload, uint32_t length, uint8_t *answer) {
  if (length != 7 || (payload[0] == TENSOR && !next_layer)) return -OUTSIDE;
  const struct shufflec_tensor *tensor = &shufflec_tensors[next_layer ? next_layer - 1 : 0];
  uint32_t offset = get32(payload + 1), count = get16(payload + 5), size;
  size = payload[0] == LOGITS ? 4 * SHUFFLEC_CLASSES : payload[0] == OUTPUT ? SHUFFLEC_CLASSES : tensor_bytes(tensor);
  if (payload[0] > TENSOR || count > MOST || offset > size || count > size - offset) return -OUTSIDE;
  for (uint32_t i = 0; i < count; i++) {
    if (payload[0] == LOGITS) answer[i] = (uint8_t)memory.arena[SHUFFLEC_LOGITS_OFFSET + offset + i];
    else if (payload[0] == OUTPUT) answer[i] = (uint8_t)output[offset + i];
    else answer[i] = tensor_byte(tensor, offset + i);
  }
  return (int)count;
}

static void answer_to(const struct frame *request, struct frame *answer) {
  const uint8_t *payload = request->bytes + HEAD;
  uint8_t *out = answer->bytes + HEAD;
  uint32_t length = get16(request->bytes + 2);
  int made = -UNKNOWN;
  switch (request->bytes[1]) {
    case HELLO: made = hello(out); break;
    case WRITE: made = write_input(payload, length); break;
    case RUN: made = run(out); break;
    case LAYER: made = run_layer(payload, length, out); break;
    case READ: made = read_back(payload, length, out); break;
  }
  answer->bytes[0] = request->bytes[0];
  answer->bytes[1] = made < 0 ? REFUSED : request->bytes[1] | 0x80;
  if (made < 0) out[0] = (uint8_t)-made, made = 1;
  answer->bytes[2] = (uint8_t)made, answer->bytes[3] = (uint8_t)(made >> 8);
}

void shufflec_serial_serve(void) {
  static struct frame request, answer;
  uint32_t last = 0; /* 0x10000 + the last request's sequence and type, once there was one */
  for (int i = 0; i < 8; i++) memory.before[i] = memory.after[i] = CANARY;
  counts_cycles = shufflec_cycles_start() != 0;
  for (;;) {
    receive(&request);
    uint32_t mark = 0x10000 | get16(request.bytes);
    if (mark != last || request.bytes[1] == HELLO) answer_to(&request, &answer);
    last = mark;
    transmit(&answer);
  }
}
