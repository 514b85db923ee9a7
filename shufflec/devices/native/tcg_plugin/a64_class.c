/* Decodes the class of an A64 instruction.
 *
 * Source of every mask: Arm Architecture Reference Manual for A-profile (DDI 0487), chapter C4 "A64 Instruction Set
 * Encoding". Bits are named as there. tests/unit/test_a64_class.py holds a table of assembled instructions.
 */
#include "a64_class.h"

static uint32_t field(uint32_t word, int high, int low) {
  return (word >> low) & ((1u << (high - low + 1)) - 1);
}

/* C4.1.94 "Branches, Exception Generating and System instructions": all branch but exceptions (0xD4) and system (0xD5). */
static enum ShufflecClass branch_or_system(uint32_t word) {
  uint32_t top = field(word, 31, 24);
  return top == 0xD4 || top == 0xD5 ? SHUFFLEC_SCALAR : SHUFFLEC_BRANCH;
}

/* C4.1.95 "Loads and Stores". */
static enum ShufflecClass load_or_store(uint32_t word) {
  uint32_t group = field(word, 29, 27), l = field(word, 22, 22), opc = field(word, 23, 22);
  int vector = field(word, 26, 26) != 0;
  switch (group) {
    case 1: /* 001: exclusive, ordered, compare and swap; with V the structure loads LD1..LD4, ST1..ST4 */
      if (!vector && field(word, 21, 21)) {
        /* CAS has o2 (bit 23) set, CASP has bit 31 clear: both read and write memory. LDXP and STXP have neither. */
        if (field(word, 23, 23) || !field(word, 31, 31)) return SHUFFLEC_LOAD;
      }
      return l ? SHUFFLEC_LOAD : SHUFFLEC_STORE;
    case 3: /* 011: literal; LDAPUR, STLUR and the memory-tag instructions when bit 24 is set */
      if (!field(word, 24, 24)) return SHUFFLEC_LOAD;
      return opc == 0 ? SHUFFLEC_STORE : SHUFFLEC_LOAD;
    case 5: /* 101: pairs */
      return l ? SHUFFLEC_LOAD : SHUFFLEC_STORE;
    default: /* 111: one register, every addressing mode */
      if (!field(word, 24, 24) && field(word, 21, 21) && field(word, 11, 10) != 2) {
        return SHUFFLEC_LOAD; /* LDADD, SWP, LDAPR (00) and LDRAA, LDRAB (x1) */
      }
      if (vector) return opc & 1 ? SHUFFLEC_LOAD : SHUFFLEC_STORE; /* opc<1> selects 128 bits */
      return opc == 0 ? SHUFFLEC_STORE : SHUFFLEC_LOAD;
  }
}

/* "Advanced SIMD three different", opcode is bits 15:12; U=1 of the odd ones is not allocated. */
static int widening_three_different(uint32_t opcode, uint32_t u) {
  switch (opcode) {
    case 0x8: /* [SU]MLAL */
    case 0xA: /* [SU]MLSL */
    case 0xC: /* [SU]MULL */
      return 1;
    case 0x9: /* SQDMLAL */
    case 0xB: /* SQDMLSL */
    case 0xD: /* SQDMULL */
    case 0xE: /* PMULL */
      return !u;
    default:
      return 0;
  }
}

/* "Advanced SIMD vector x indexed element", opcode is bits 15:12. */
static int widening_by_element(uint32_t opcode, uint32_t u) {
  switch (opcode) {
    case 0x2: /* [SU]MLAL */
    case 0x6: /* [SU]MLSL */
    case 0xA: /* [SU]MULL */
      return 1;
    case 0x3: /* SQDMLAL; FCMLA with U */
    case 0x7: /* SQDMLSL; FCMLA with U */
    case 0xB: /* SQDMULL */
      return !u;
    default:
      return 0;
  }
}

/* C4.1.97 "Data Processing -- Scalar Floating-Point and Advanced SIMD". */
static enum ShufflecClass simd_or_float(uint32_t word) {
  uint32_t u = field(word, 29, 29), size = field(word, 23, 22), opcode = field(word, 15, 12);
  if ((word & 0x9F200C00) == 0x0E200000) { /* vector three different */
    return widening_three_different(opcode, u) ? SHUFFLEC_WIDENING_MULTIPLY : SHUFFLEC_SIMD;
  }
  if ((word & 0xDF200C00) == 0x5E200000) { /* scalar three different: only SQDMLAL, SQDMLSL, SQDMULL */
    return (opcode & 1) && widening_three_different(opcode, u) ? SHUFFLEC_WIDENING_MULTIPLY : SHUFFLEC_SIMD;
  }
  if ((word & 0x9F000400) == 0x0F000000) { /* vector by element */
    if (opcode == 0xE && size == 2) return SHUFFLEC_DOT;                    /* SDOT, UDOT */
    if (opcode == 0xF && !u && (size == 0 || size == 2)) return SHUFFLEC_DOT; /* SUDOT, USDOT */
    return widening_by_element(opcode, u) ? SHUFFLEC_WIDENING_MULTIPLY : SHUFFLEC_SIMD;
  }
  if ((word & 0xDF000400) == 0x5F000000) { /* scalar by element: only SQDMLAL, SQDMLSL, SQDMULL */
    return (opcode & 1) && widening_by_element(opcode, u) ? SHUFFLEC_WIDENING_MULTIPLY : SHUFFLEC_SIMD;
  }
  if ((word & 0x9F208400) == 0x0E008400 && size == 2) { /* vector three same (extra), 32-bit lanes */
    uint32_t extra = field(word, 14, 11);
    if (extra == 2 || extra == 4) return SHUFFLEC_DOT;         /* SDOT, UDOT; SMMLA, UMMLA */
    if ((extra == 3 || extra == 5) && !u) return SHUFFLEC_DOT; /* USDOT; USMMLA */
  }
  return SHUFFLEC_SIMD;
}

enum ShufflecClass shufflec_a64_class(uint32_t word) {
  uint32_t op0 = field(word, 28, 25);
  if ((op0 & 0xE) == 0x8) return SHUFFLEC_SCALAR; /* 100x: data processing, immediate */
  if ((op0 & 0xE) == 0xA) return branch_or_system(word);
  if ((op0 & 0x5) == 0x4) return load_or_store(word);
  if ((op0 & 0x7) == 0x5) return SHUFFLEC_SCALAR; /* x101: data processing, register */
  if ((op0 & 0x7) == 0x7) return simd_or_float(word);
  return op0 == 0x2 ? SHUFFLEC_SIMD : SHUFFLEC_SCALAR; /* SVE; reserved and SME */
}
