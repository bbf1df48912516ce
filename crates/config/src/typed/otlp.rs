//! The section `otlp`: how metrics of OpenTelemetry become series.

use crate::Section;

/// How names of OpenTelemetry become names of ours.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TranslationStrategy {
    /// Everything but letters, digits and underscores becomes an underscore; units and types are
    /// appended.
    #[default]
    UnderscoreEscapingWithSuffixes,
    /// The same, nothing appended.
    UnderscoreEscapingWithoutSuffixes,
    /// Names as they are; units and types are appended.
    NoUtf8EscapingWithSuffixes,
    /// Names as they are.
    NoTranslation,
}

/// The section `otlp`, its defaults filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct OtlpConfig {
    /// Whether all attributes of resources become labels, but the ignored ones.
    pub promote_all_resource_attributes: bool,
    /// Attributes of resources that become labels.
    pub promote_resource_attributes: Vec<String>,
    /// Attributes that do not, where all others do.
    pub ignore_resource_attributes: Vec<String>,
    /// How names are translated.
    pub translation_strategy: TranslationStrategy,
    /// Whether `target_info` keeps `service.name` and its like.
    pub keep_identifying_resource_attributes: bool,
    /// Whether classic histograms become native ones with custom buckets.
    pub convert_histograms_to_nhcb: bool,
    /// Whether name, version, URL and attributes of scopes become labels.
    pub promote_scope_metadata: bool,
    /// Whether labels that begin with an underscore get `key` in front.
    pub label_name_underscore_sanitization: bool,
    /// Whether underscores in a row stay.
    pub label_name_preserve_multiple_underscores: bool,
}

impl Default for OtlpConfig {
    fn default() -> Self {
        Self {
            promote_all_resource_attributes: false,
            promote_resource_attributes: Vec::new(),
            ignore_resource_attributes: Vec::new(),
            translation_strategy: TranslationStrategy::default(),
            keep_identifying_resource_attributes: false,
            convert_histograms_to_nhcb: false,
            promote_scope_metadata: false,
            label_name_underscore_sanitization: true,
            label_name_preserve_multiple_underscores: true,
        }
    }
}

impl OtlpConfig {
    pub(crate) fn of(section: Option<&Section>) -> Self {
        let Some(otlp) = section else { return Self::default() };
        let texts = |key| otlp.texts(key).map(str::to_owned).collect();
        Self {
            promote_all_resource_attributes: otlp.flag("promote_all_resource_attributes"),
            promote_resource_attributes: texts("promote_resource_attributes"),
            ignore_resource_attributes: texts("ignore_resource_attributes"),
            translation_strategy: match otlp.text("translation_strategy") {
                "UnderscoreEscapingWithoutSuffixes" => {
                    TranslationStrategy::UnderscoreEscapingWithoutSuffixes
                }
                "NoUTF8EscapingWithSuffixes" => TranslationStrategy::NoUtf8EscapingWithSuffixes,
                "NoTranslation" => TranslationStrategy::NoTranslation,
                _ => TranslationStrategy::UnderscoreEscapingWithSuffixes,
            },
            keep_identifying_resource_attributes: otlp.flag("keep_identifying_resource_attributes"),
            convert_histograms_to_nhcb: otlp.flag("convert_histograms_to_nhcb"),
            promote_scope_metadata: otlp.flag("promote_scope_metadata"),
            label_name_underscore_sanitization: otlp.flag("label_name_underscore_sanitization"),
            label_name_preserve_multiple_underscores: otlp
                .flag("label_name_preserve_multiple_underscores"),
        }
    }
}
