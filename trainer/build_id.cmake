# cmake -D source=FOLDER -D version=V -D output=FILE -P build_id.cmake: writes build_id.cpp anew where a source has
# changed.
set(patterns)
foreach(room model parallel data trainer launch)
  foreach(ending cpp h cu cuh in py)
    list(APPEND patterns ${source}/${room}/*.${ending})
  endforeach()
endforeach()
file(GLOB_RECURSE files RELATIVE ${source} ${patterns})
list(SORT files)
set(all "")
foreach(file ${files})
  file(SHA256 ${source}/${file} hash)
  string(APPEND all "${file} ${hash}\n")
endforeach()
string(SHA256 hash "${all}")
string(SUBSTRING ${hash} 0 12 hash)
file(CONFIGURE OUTPUT ${output} @ONLY CONTENT [[
#include "trainer/build_id.h"

namespace lmnet {

std::string build_id() {
  return "@version@ (sources @hash@)";
}

}  // namespace lmnet
]])
