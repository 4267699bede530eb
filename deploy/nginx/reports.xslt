<?xml version="1.0" encoding="utf-8"?>
<!-- Renders nginx's folder listing like the list of the service (reports.html.j2, style.css). -->
<xsl:stylesheet version="1.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform">
<xsl:output method="html" encoding="utf-8" doctype-system="about:legacy-compat" indent="no"/>
<xsl:strip-space elements="*"/>

<xsl:template match="/list">
  <xsl:variable name="reports">
    <xsl:apply-templates select="file">
      <xsl:sort select="substring(., string-length(.) - 19)" order="descending"/>
      <xsl:sort select="." order="descending"/>
    </xsl:apply-templates>
  </xsl:variable>
  <xsl:call-template name="page">
    <xsl:with-param name="title">Reports</xsl:with-param>
    <xsl:with-param name="body">
      <xsl:choose>
        <xsl:when test="string($reports)">
          <xsl:if test="file[. = 'drift_report_latest.html']">
            <p><xsl:choose>
              <xsl:when test="file[. = 'driftbell_report_latest.html']"><a href="/driftbell_report_latest.html">Latest report</a> · <a href="/drift_report_latest.html">Evidently's report</a> of the same check</xsl:when>
              <xsl:otherwise><a href="/drift_report_latest.html">Latest report</a></xsl:otherwise>
            </xsl:choose></p>
          </xsl:if>
          <div class="scroll"><table>
            <thead><tr><th scope="col">Report</th><th scope="col">Time</th><th scope="col">Started</th><th scope="col" class="n">Size</th></tr></thead>
            <tbody><xsl:copy-of select="$reports"/></tbody>
          </table></div>
        </xsl:when>
        <xsl:otherwise>
          <p>No report yet. The first check with enough predictions writes one; the first page of the service (port 8000) shows the progress.</p>
        </xsl:otherwise>
      </xsl:choose>
    </xsl:with-param>
  </xsl:call-template>
</xsl:template>

<!-- one row per report: PREFIX_[manual_]YYYYMMDD_HHMMSS.html -->
<xsl:template match="file">
  <xsl:variable name="stamp" select="substring(., string-length(.) - 19, 15)"/>
  <xsl:variable name="rest" select="substring-before(., concat($stamp, '.html'))"/>
  <xsl:variable name="manual" select="$rest = 'drift_report_manual_' or $rest = 'driftbell_report_manual_'"/>
  <xsl:if test="translate($stamp, '123456789', '000000000') = '00000000_000000'
                and ($manual or $rest = 'drift_report_' or $rest = 'driftbell_report_')
                and . = concat($rest, $stamp, '.html')">
    <xsl:variable name="day" select="concat(substring($stamp, 1, 4), '-', substring($stamp, 5, 2), '-', substring($stamp, 7, 2))"/>
    <xsl:variable name="time" select="concat(substring($stamp, 10, 2), ':', substring($stamp, 12, 2), ':', substring($stamp, 14, 2))"/>
    <tr>
      <td><a href="/{.}"><xsl:value-of select="."/></a></td>
      <td><time datetime="{$day}T{$time}Z"><xsl:value-of select="concat($day, ' ', $time, ' UTC')"/></time></td>
      <td><xsl:choose><xsl:when test="$manual">manually</xsl:when><xsl:otherwise>scheduled or triggered</xsl:otherwise></xsl:choose></td>
      <td class="n"><xsl:value-of select="format-number(@size div 1000, '#,##0')"/> kB</td>
    </tr>
  </xsl:if>
</xsl:template>

<xsl:template match="/missing">
  <xsl:call-template name="page">
    <xsl:with-param name="title">No such report</xsl:with-param>
    <xsl:with-param name="body"><p>This report does not exist or has been removed. <a href="/">All reports</a></p></xsl:with-param>
  </xsl:call-template>
</xsl:template>

<xsl:template match="/unreadable">
  <xsl:call-template name="page">
    <xsl:with-param name="title">The reports cannot be read</xsl:with-param>
    <xsl:with-param name="body"><p>The report viewer cannot read the report folder: make it readable for the user of the viewer (101 in the container).</p></xsl:with-param>
  </xsl:call-template>
</xsl:template>

<xsl:template name="page">
  <xsl:param name="title"/>
  <xsl:param name="body"/>
  <html lang="en">
  <head>
    <meta name="viewport" content="width=device-width, initial-scale=1"/>
    <title><xsl:value-of select="$title"/> · driftbell</title>
    <link rel="icon" type="image/svg+xml" href="data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 24 24'%3E%3Cpath fill='%232f6fd0' d='M12 2a1.6 1.6 0 0 0-1.6 1.6v.6A6 6 0 0 0 6 10v4.5L4 17v1.2h16V17l-2-2.5V10a6 6 0 0 0-4.4-5.8v-.6A1.6 1.6 0 0 0 12 2Z'/%3E%3Ccircle cx='12' cy='20.5' r='1.9' fill='%23d9822b'/%3E%3C/svg%3E"/>
    <style>
:root { color-scheme: light dark; --text: #1c2430; --paper: #fff; --line: #dde3ea; --link: #1d5fbf; }
@media (prefers-color-scheme: dark) { :root { --text: #e6ebf2; --paper: #10151c; --line: #2b3642; --link: #7db3ff; } }
* { box-sizing: border-box; }
body { margin: 0; font: 16px/1.5 system-ui, sans-serif; color: var(--text); background: var(--paper); }
header { display: flex; padding: .7rem 1.2rem; border-bottom: 1px solid var(--line); }
.brand { display: flex; gap: .45rem; align-items: center; font-weight: 650; color: var(--text); text-decoration: none; }
a { color: var(--link); }
main { max-width: 70rem; margin: 0 auto; padding: 1rem 1.2rem; }
h1 { font-size: 1.5rem; line-height: 1.3; margin: .3rem 0 .5rem; }
p { margin: .35rem 0; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .92rem; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .4rem .7rem .4rem 0; border-bottom: 1px solid var(--line); vertical-align: top; white-space: nowrap; }
.n { text-align: right; }
@media (max-width: 40rem) {
  thead { display: none; }
  tr { display: block; padding: .4rem 0; border-bottom: 1px solid var(--line); }
  td { display: inline-block; padding: 0 .6rem 0 0; border: 0; font-size: .8rem; }
  td:first-child { display: block; padding: 0; font-size: .86rem; white-space: normal; overflow-wrap: anywhere; }
}
    </style>
  </head>
  <body>
    <header><a class="brand" href="/"><svg viewBox="0 0 24 24" width="22" height="22" aria-hidden="true"><path fill="#2f6fd0" d="M12 2a1.6 1.6 0 0 0-1.6 1.6v.6A6 6 0 0 0 6 10v4.5L4 17v1.2h16V17l-2-2.5V10a6 6 0 0 0-4.4-5.8v-.6A1.6 1.6 0 0 0 12 2Z"/><circle cx="12" cy="20.5" r="1.9" fill="#d9822b"/></svg> driftbell</a></header>
    <main><h1><xsl:value-of select="$title"/></h1><xsl:copy-of select="$body"/></main>
  </body>
  </html>
</xsl:template>
</xsl:stylesheet>
