// The types of tensors and their traits, from tensor_type_table.h.
//
// CPU kernels include this, so it has only constants and functions of internal linkage: nothing that is compiled for
// one instruction set may meet another's.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "tensor_type_table.h"

namespace hearth {

/// The value is ggml's id.
enum class TensorType : uint32_t {
#define HEARTH_ENUMERATOR(name, id, ...) name = id,
  HEARTH_TENSOR_TYPES(HEARTH_ENUMERATOR)
#undef HEARTH_ENUMERATOR
};

/// How kernels compute with tensors of a type; `other`: no kernel does.
enum class TypeKind { quantised, floats, other };

struct TypeTraits {
  const char* name;  ///< nullptr: the table has no type with this id
  TypeKind kind;
  int block;  ///< elements that are stored together
  int block_bytes;
  /// Where the F16s of the scale and of the minimum begin in a block of a quantised type; −1: it has none.
  int scale_at, minimum_at;
};

#define HEARTH_ROW_OF(name, ...) TensorType::name,
/// The types that a matrix may have.
constexpr TensorType kMatrixTypes[] = {HEARTH_MATRIX_TYPES(HEARTH_ROW_OF)};
/// The types of kMatrixTypes whose kernels multiply integers, and those whose kernels multiply floats.
constexpr TensorType kQuantisedTypes[] = {HEARTH_QUANTISED_TYPES(HEARTH_ROW_OF)};
constexpr TensorType kFloatTypes[] = {HEARTH_FLOAT_TYPES(HEARTH_ROW_OF)};
constexpr TensorType kTensorTypes[] = {HEARTH_TENSOR_TYPES(HEARTH_ROW_OF)};
#undef HEARTH_ROW_OF

/// The number of entries of a table that is indexed by a type's id.
constexpr size_t kTypeIds = [] {
  size_t count = 0;
  for (const TensorType type : kTensorTypes)
    if (static_cast<size_t>(type) >= count) count = static_cast<size_t>(type) + 1;
  return count;
}();

struct TypeTable {
  TypeTraits of[kTypeIds];
};
constexpr TypeTable kTypeTable = [] {
  TypeTable table{};
#define HEARTH_QUANTISED(name, id, ...) table.of[id] = {#name, TypeKind::quantised, __VA_ARGS__};
#define HEARTH_FLOATS(name, id, ...) table.of[id] = {#name, TypeKind::floats, __VA_ARGS__};
#define HEARTH_OTHER(name, id, ...) table.of[id] = {#name, TypeKind::other, __VA_ARGS__};
  HEARTH_QUANTISED_TYPES(HEARTH_QUANTISED)
  HEARTH_FLOAT_TYPES(HEARTH_FLOATS)
  HEARTH_OTHER_TYPES(HEARTH_OTHER)
#undef HEARTH_QUANTISED
#undef HEARTH_FLOATS
#undef HEARTH_OTHER
  return table;
}();

/// Whether the table has a type with this id, which may be any number that a file holds.
static constexpr bool is_tensor_type(uint32_t id) { return id < kTypeIds && kTypeTable.of[id].name; }
static constexpr const TypeTraits& type_traits(TensorType type) { return kTypeTable.of[static_cast<uint32_t>(type)]; }
static constexpr bool is_quantised(TensorType type) { return type_traits(type).kind == TypeKind::quantised; }

static_assert(
    [] {
      size_t rows = 0;
      for (const TypeTraits& traits : kTypeTable.of) rows += traits.name != nullptr;
      return rows == sizeof kTensorTypes / sizeof kTensorTypes[0];
    }(),
    "two types have one id");
static_assert(
    [] {
      for (const TensorType type : kTensorTypes) {
        const TypeTraits& traits = type_traits(type);
        if (traits.block < 1 || traits.block_bytes < 1 || traits.scale_at + 2 > traits.block_bytes ||
            traits.minimum_at + 2 > traits.block_bytes)
          return false;
        // The kernels' activations are quantised in blocks of 32.
        if (traits.kind == TypeKind::quantised && traits.block % 32) return false;
      }
      return true;
    }(),
    "a type's block does not hold what its row says");

}  // namespace hearth
