#include "data/record.h"

namespace lmnet {

size_t Record::bytes() const {
  size_t sum = prompt.size() + answer.size();
  for (const ChatMessage& message : messages) sum += message.role.size() + message.content.size();
  return sum;
}

}  // namespace lmnet
