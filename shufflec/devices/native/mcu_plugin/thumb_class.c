/* Source: Armv7-M ARM (DDI 0403E), A5.2 and A5.3; Armv8-M ARM (DDI 0553) for loops (LOB) and vectors. */
#include "thumb_class.h"

static enum ThumbClass class16(uint16_t word) {
  switch (word >> 12) {
    case 4:
      if ((word & 0xF800) == 0x4800) return THUMB_LOAD;            /* LDR literal */
      if ((word & 0xFFC0) == 0x4340) return THUMB_MULTIPLY;        /* MULS */
      if ((word & 0xFF00) == 0x4700) return THUMB_BRANCH;          /* BX, BLX */
      return THUMB_SCALAR;
    case 5:
      return (word & 0x0E00) >= 0x0600 ? THUMB_LOAD : THUMB_STORE; /* register offset: STR, STRH, STRB; LDRSB and loads */
    case 6: case 7: case 8: case 9:
      return word & 0x0800 ? THUMB_LOAD : THUMB_STORE;
    case 11:
      if ((word & 0x0500) == 0x0100) return THUMB_BRANCH;          /* CBZ, CBNZ */
      if ((word & 0xFE00) == 0xB400) return THUMB_STORE;           /* PUSH */
      if ((word & 0xFE00) == 0xBC00) return THUMB_LOAD;            /* POP */
      return THUMB_SCALAR;
    case 12:
      return word & 0x0800 ? THUMB_LOAD : THUMB_STORE;             /* LDM, STM */
    case 13:
      return (word & 0x0F00) < 0x0E00 ? THUMB_BRANCH : THUMB_SCALAR;
    case 14:
      return THUMB_BRANCH;
    default:
      return THUMB_SCALAR;
  }
}

static enum ThumbClass class32(uint16_t first, uint16_t second) {
  if ((first & 0xEC00) == 0xEC00) return THUMB_VECTOR;             /* coprocessor space: floating point and MVE */
  if ((first & 0xFE40) == 0xE800) return first & 0x0010 ? THUMB_LOAD : THUMB_STORE; /* LDM, STM */
  if ((first & 0xFE40) == 0xE840) {                                /* LDRD, STRD, exclusive, TBB */
    if ((first & 0xFFF0) == 0xE8D0 && (second & 0x00E0) == 0) return THUMB_BRANCH;
    return first & 0x0010 ? THUMB_LOAD : THUMB_STORE;
  }
  if ((first & 0xFE00) == 0xF800) return first & 0x0010 ? THUMB_LOAD : THUMB_STORE;
  if ((first & 0xFF00) == 0xFB00) return THUMB_MULTIPLY;           /* MUL, MLA, SMLAD, SMMUL, SMULL, divisions */
  if ((first & 0xF800) == 0xF000 && second & 0x8000) {             /* branches and control */
    if ((second & 0x5000) == 0 && (first & 0x0380) == 0x0380) return THUMB_SCALAR; /* hints, barriers, MSR */
    return THUMB_BRANCH;                                           /* B, BL, and the loops DLS, WLS, LE */
  }
  return THUMB_SCALAR;
}

enum ThumbClass shufflec_thumb_class(uint16_t first, uint16_t second, size_t size) {
  return size == 2 ? class16(first) : class32(first, second);
}
