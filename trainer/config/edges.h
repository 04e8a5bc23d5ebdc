#pragma once
#include "trainer/config/codec.h"

namespace lmnet::config {

/// `{kind: block}`, or a list of such maps in order of execution; `identity` is no link. With `may_be_none`, `none`
/// stands for no link too.
Codec<EdgeKinds> edge_kinds(bool may_be_none);

}  // namespace lmnet::config
