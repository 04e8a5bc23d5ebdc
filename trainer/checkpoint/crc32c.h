#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

namespace lmnet {

/// CRC-32C (Castagnoli, as in iSCSI and ext4: start value and result inverted) of `bytes`. Pass the CRC of what comes
/// before as `previous` to go on from there; the CRC of nothing is 0.
uint32_t crc32c(std::span<const std::byte> bytes, uint32_t previous = 0);

/// The CRC of two parts one after the other, of which the second has `second_bytes` bytes, from theirs.
uint32_t crc32c_join(uint32_t first, uint32_t second, uint64_t second_bytes);

}  // namespace lmnet
