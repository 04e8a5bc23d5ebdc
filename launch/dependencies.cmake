# Libraries that LMNet takes from others, as imported targets, and the helper that declares a room.
# LibTorch is found by hand, without find_package(Torch): that one wants the CUDA toolkit, cuDNN and nvcc even for a
# CPU build and injects flags of its own. A LibTorch under CMAKE_PREFIX_PATH wins over the one in .deps/.

find_program(LMNET_CCACHE ccache)
if(LMNET_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  # Without this sloppiness ccache finds nothing for files that use a precompiled header.
  set(CMAKE_CXX_COMPILER_LAUNCHER env CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime
      ${LMNET_CCACHE})
endif()

set(LMNET_TORCH_VERSION 2.11.0)
set(bundled ${PROJECT_SOURCE_DIR}/.deps/libtorch-${LMNET_TORCH_VERSION}/torch)
find_path(LMNET_TORCH_INCLUDE ATen/ATen.h PATH_SUFFIXES include torch/include)
find_path(LMNET_TORCH_INCLUDE ATen/ATen.h PATHS ${bundled}/include NO_DEFAULT_PATH)
find_library(LMNET_TORCH_CPU torch_cpu HINTS ${LMNET_TORCH_INCLUDE}/../lib NO_DEFAULT_PATH)
find_library(LMNET_TORCH_C10 c10 HINTS ${LMNET_TORCH_INCLUDE}/../lib NO_DEFAULT_PATH)
if(NOT LMNET_TORCH_CPU OR NOT LMNET_TORCH_C10)
  message(FATAL_ERROR "LibTorch ${LMNET_TORCH_VERSION} not found: run launch/setup, or pass -DCMAKE_PREFIX_PATH=/path/to/libtorch.")
endif()
file(READ ${LMNET_TORCH_INCLUDE}/torch/headeronly/version.h torch_version)
if(NOT torch_version MATCHES "TORCH_VERSION[ \\\n]+\"${LMNET_TORCH_VERSION}")
  message(FATAL_ERROR "LibTorch at ${LMNET_TORCH_INCLUDE} is not version ${LMNET_TORCH_VERSION}, which LMNet needs exactly.")
endif()

find_package(OpenMP REQUIRED COMPONENTS CXX)
add_library(lmnet_torch INTERFACE)
target_include_directories(lmnet_torch SYSTEM INTERFACE
  ${LMNET_TORCH_INCLUDE} ${LMNET_TORCH_INCLUDE}/torch/csrc/api/include)
# at::parallel_for is serial in a file compiled without OpenMP.
target_link_libraries(lmnet_torch INTERFACE ${LMNET_TORCH_CPU} ${LMNET_TORCH_C10} OpenMP::OpenMP_CXX)
get_filename_component(torch_lib ${LMNET_TORCH_CPU} DIRECTORY)
# RPATH, not RUNPATH: it also serves what the libraries themselves need.
target_link_options(lmnet_torch INTERFACE -Wl,--disable-new-dtags -Wl,--allow-shlib-undefined)
list(APPEND CMAKE_BUILD_RPATH ${torch_lib})

set(MPI_CXX_SKIP_MPICXX ON)
find_package(MPI REQUIRED COMPONENTS C)
set(HDF5_PREFER_PARALLEL OFF)
find_package(HDF5 REQUIRED COMPONENTS C)
add_library(lmnet_hdf5 INTERFACE)
target_include_directories(lmnet_hdf5 SYSTEM INTERFACE ${HDF5_C_INCLUDE_DIRS})
target_link_libraries(lmnet_hdf5 INTERFACE ${HDF5_C_LIBRARIES})
find_package(ZLIB REQUIRED)
find_package(Threads REQUIRED)
find_package(yaml-cpp REQUIRED)
find_package(fmt REQUIRED)
# LibTorch's headers bring another fmt along; ours must be found first.
get_target_property(fmt_include fmt::fmt INTERFACE_INCLUDE_DIRECTORIES)
file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/include)
file(CREATE_LINK ${fmt_include}/fmt ${CMAKE_BINARY_DIR}/include/fmt SYMBOLIC)
target_include_directories(lmnet_torch BEFORE INTERFACE ${CMAKE_BINARY_DIR}/include)
find_package(simdjson REQUIRED)
find_path(LMNET_ISAL_INCLUDE isa-l/crc.h REQUIRED)
find_library(LMNET_ISAL isal REQUIRED)
find_library(LMNET_GLOG glog REQUIRED)
find_library(LMNET_TCMALLOC tcmalloc_minimal)
foreach(header nlohmann/json.hpp CLI/CLI.hpp)
  string(MAKE_C_IDENTIFIER ${header} id)
  find_path(LMNET_HEADER_${id} ${header} REQUIRED)
endforeach()
add_library(lmnet_isal INTERFACE)
target_include_directories(lmnet_isal SYSTEM INTERFACE ${LMNET_ISAL_INCLUDE})
target_link_libraries(lmnet_isal INTERFACE ${LMNET_ISAL})

find_path(LMNET_PCRE2_INCLUDE pcre2.h REQUIRED)
find_library(LMNET_PCRE2 pcre2-8 REQUIRED)
add_library(lmnet_pcre2 INTERFACE)
target_include_directories(lmnet_pcre2 SYSTEM INTERFACE ${LMNET_PCRE2_INCLUDE})
target_link_libraries(lmnet_pcre2 INTERFACE ${LMNET_PCRE2})
find_path(LMNET_UTF8PROC_INCLUDE utf8proc.h REQUIRED)
find_library(LMNET_UTF8PROC utf8proc REQUIRED)
add_library(lmnet_utf8proc INTERFACE)
target_include_directories(lmnet_utf8proc SYSTEM INTERFACE ${LMNET_UTF8PROC_INCLUDE})
target_link_libraries(lmnet_utf8proc INTERFACE ${LMNET_UTF8PROC})

# The one precompiled header: LibTorch's tensors, operators, autograd and modules, which take 16 s to read.
file(CONFIGURE OUTPUT ${CMAKE_BINARY_DIR}/precompiled.cpp CONTENT "// Carries the shared precompiled header.\n")
add_library(lmnet_precompiled OBJECT ${CMAKE_BINARY_DIR}/precompiled.cpp)
target_link_libraries(lmnet_precompiled PRIVATE lmnet_torch)
target_compile_options(lmnet_precompiled PRIVATE -Wall -Wextra -Wpedantic -Wshadow -Wno-unused-parameter -Werror -fpch-preprocess)
target_precompile_headers(lmnet_precompiled PRIVATE
  <ATen/ATen.h> <ATen/Parallel.h> <torch/csrc/autograd/custom_function.h> <torch/nn/module.h>
  <algorithm> <filesystem> <functional> <map> <memory> <optional> <span> <string> <string_view> <vector>)

# lmnet_room(NAME [TORCH] SOURCES… LINK TARGETS…): the static library lmnet::NAME.
function(lmnet_room name)
  cmake_parse_arguments(room "TORCH" "" "SOURCES;LINK" ${ARGN})
  add_library(lmnet_${name} STATIC ${room_SOURCES})
  add_library(lmnet::${name} ALIAS lmnet_${name})
  target_link_libraries(lmnet_${name} PUBLIC ${room_LINK})
  lmnet_compile_options(lmnet_${name} ${room_TORCH})
endfunction()

# Warnings are errors for our code; with TORCH the target also uses the precompiled header.
function(lmnet_compile_options target torch)
  target_include_directories(${target} PUBLIC ${PROJECT_SOURCE_DIR})
  target_compile_options(${target} PRIVATE -Wall -Wextra -Wpedantic -Wshadow -Wno-unused-parameter -Werror -fpch-preprocess)
  if(torch)
    target_link_libraries(${target} PUBLIC lmnet_torch)
    target_precompile_headers(${target} REUSE_FROM lmnet_precompiled)
    # Each file on its own would instantiate LibTorch's templates anew, for 6 s: six of them share that.
    set_target_properties(${target} PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 6)
  endif()
endfunction()
