/* Classes of Thumb instructions, in the order of M_INSTRUCTION_CLASSES in shufflec/targets/target.py. */
#ifndef SHUFFLEC_THUMB_CLASS_H_
#define SHUFFLEC_THUMB_CLASS_H_

#include <stddef.h>
#include <stdint.h>

enum ThumbClass { THUMB_LOAD, THUMB_STORE, THUMB_BRANCH, THUMB_MULTIPLY, THUMB_VECTOR, THUMB_SCALAR, THUMB_CLASSES };

/* The class of one instruction. first, second: its halfwords; second is 0 for a 16-bit instruction (size 2). */
enum ThumbClass shufflec_thumb_class(uint16_t first, uint16_t second, size_t size);

#endif
