#pragma once
#include "trainer/config/codec.h"

namespace lmnet::config {

/// The keys of `data`.
Mapping<DataConfig> data_keys();

}  // namespace lmnet::config
