#include "model.hpp"

#include <dlfcn.h>

#include <cstring>

#include "error.hpp"

namespace sample {
namespace {

const std::string kSuffix = ".alula";

std::string library_path(const std::string& model) {
    const size_t slash = model.rfind('/');
    const std::string folder = slash == std::string::npos ? "./" : model.substr(0, slash + 1);
    std::string name = slash == std::string::npos ? model : model.substr(slash + 1);
    if (name.size() > kSuffix.size() && name.compare(name.size() - kSuffix.size(), kSuffix.size(), kSuffix) == 0) {
        name.resize(name.size() - kSuffix.size());
    }
    return folder + "lib" + name + ".so";
}

// The function of the library that the header declares under this name.
template <typename Function>
Function* found(void* library, const char* name) {
    void* address = dlsym(library, name);
    if (address == nullptr) {
        throw Error(std::string("library: expected one that `alula compile` made, got one without ") + name);
    }
    Function* function = nullptr;
    std::memcpy(&function, &address, sizeof function);
    return function;
}

}  // namespace

Model::Model(const std::string& path)
    : library_(dlopen(library_path(path).c_str(), RTLD_NOW | RTLD_LOCAL), dlclose) {
    if (!library_) {
        throw Error("model " + path + ": expected its library beside it (alula compile), got " + dlerror());
    }
    void* library = library_.get();
    description_ = found<decltype(alula_describe)>(library, "alula_describe")();
    if (description_->abi_version != ALULA_ABI_VERSION) {
        throw Error("model " + path + ": expected a library of version " + std::to_string(ALULA_ABI_VERSION) +
                    ", got " + std::to_string(description_->abi_version));
    }
    const bool classifies = description_->input_count == 1 && description_->output_count == 1 &&
                            std::strcmp(description_->outputs[0].dtype, "f32") == 0;
    if (description_->image == nullptr || !classifies) {
        throw Error("model " + path + ": expected a classifier that says how it takes pictures, got another model");
    }
    char error[ALULA_ERROR_BYTES] = "";
    const auto create = found<decltype(alula_session_create)>(library, "alula_session_create");
    const auto destroy = found<decltype(alula_session_destroy)>(library, "alula_session_destroy");
    session_ = {create(path.c_str(), 0, error), destroy};
    const auto check = found<decltype(alula_session_check)>(library, "alula_session_check");
    if (!session_ || check(session_.get(), error) != 0) {
        throw Error(error);
    }
    run_ = found<decltype(alula_session_run)>(library, "alula_session_run");
    threads_ = found<decltype(alula_session_threads)>(library, "alula_session_threads")(session_.get());
}

std::vector<float> Model::scores(const std::vector<uint8_t>& inputs, int64_t batch) const {
    std::vector<float> outputs(static_cast<size_t>(batch) * classes());
    const void* given[] = {inputs.data()};
    void* taken[] = {outputs.data()};
    char error[ALULA_ERROR_BYTES] = "";
    if (run_(session_.get(), given, taken, batch, error) != 0) {
        throw Error(error);
    }
    return outputs;
}

}  // namespace sample
